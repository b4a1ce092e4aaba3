"""Arguments, files, processes and text, for every package."""
