"""Certified values of cells, by ball arithmetic alone."""
