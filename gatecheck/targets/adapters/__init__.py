"""Adapters that make implementations of frameworks, libraries, files and programs."""
