"""Quantities along a sequence: gates, paths, inputs, spectrum, truncation."""
