"""Products of Jacobians along a sequence, by one forward and one backward sweep."""
