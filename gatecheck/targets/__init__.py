"""Targets: from a name to an implementation that can be run."""
