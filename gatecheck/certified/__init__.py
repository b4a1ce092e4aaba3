"""Certified values of cells, by ball arithmetic, independent of reference and kernels."""
