"""Faults around any call: arguments, results, and what a subject keeps."""
