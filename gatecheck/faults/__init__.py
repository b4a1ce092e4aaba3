"""Faults that people write, as edits of equations or wrappers around a subject."""
