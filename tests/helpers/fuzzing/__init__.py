"""Damaged files and calls, and what reads them."""
