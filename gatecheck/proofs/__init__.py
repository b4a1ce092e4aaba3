"""Proofs about cell equations over boxes of reals, and activations on all floats.

Every module but :mod:`gatecheck.proofs.proof` and :mod:`gatecheck.proofs.statements` needs
python-flint.
"""
