"""Speed, side by side with what is installed.

The same cells, sizes, dtypes and threads are measured in turns, in one process.
"""
