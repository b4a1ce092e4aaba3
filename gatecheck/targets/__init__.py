"""Whose cells: from the name of a target to an implementation that can be run."""
