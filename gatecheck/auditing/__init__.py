"""Audits: every applicable property tried on one target, with a verdict."""
