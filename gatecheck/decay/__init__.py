"""Gradient-decay studies: how fast gradients fade with the lag."""
