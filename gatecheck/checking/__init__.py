"""Checking a property: its registration, the evidence it returns, rounding budgets."""
