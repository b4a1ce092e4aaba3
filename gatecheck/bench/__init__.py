"""Speed, side by side with what is installed: the same cells, sizes, dtypes and threads, in one
process and in turns.
"""
