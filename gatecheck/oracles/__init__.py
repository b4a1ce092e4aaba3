"""Independent derivatives and rounding budgets, of callables and arrays alone."""
