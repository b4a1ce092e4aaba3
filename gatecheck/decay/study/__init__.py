"""A decay study: its networks, sequences and trials, and their summary."""
