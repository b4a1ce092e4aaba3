"""Test vectors: cases and expected results as files, and the check of answers."""
