"""The claims: each a function whose docstring states the theorem."""
