"""Training on memory tasks, and the decay of what was trained."""
