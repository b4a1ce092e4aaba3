"""Faults of layers: directions, depth, layouts and rows of different lengths."""
