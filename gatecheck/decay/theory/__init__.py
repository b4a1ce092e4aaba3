"""Theoretical decay rates, the kind of a decay, and statistics of its curves."""
