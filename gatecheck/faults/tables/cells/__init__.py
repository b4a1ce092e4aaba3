"""Faults in the equations of the plain cells."""
