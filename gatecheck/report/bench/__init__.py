"""Reports of a benchmark: tables by section, and a figure."""
