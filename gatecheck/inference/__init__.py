"""Inference of the convention that a target follows."""
