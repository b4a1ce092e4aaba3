"""Faults in the equations of a cell's options."""
