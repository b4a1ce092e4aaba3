"""Fixtures that compile C, for adapters of libraries and programs."""

from helpers.compilers import compiled, library

__all__ = ["compiled", "library"]
