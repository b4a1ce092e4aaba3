"""Arguments, files, processes and text: what every package may need, none about cells."""
