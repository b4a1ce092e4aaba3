"""The frameworks that a benchmark holds our cells against, one module each."""
