"""Rounding noise: arrays whose every operation is perturbed at random."""
