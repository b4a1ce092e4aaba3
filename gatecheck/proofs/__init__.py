"""What is proven for all inputs at once: of a cell's equations over boxes of real numbers, of
activations on every float.

All but :mod:`gatecheck.proofs.proof` needs python-flint.
"""
