"""Registration of properties, the evidence they return, and rounding budgets."""
