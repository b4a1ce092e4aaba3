"""Conventions that a target may follow without declaring them."""
