"""Errors of implementations in ulps, and how tight rounding budgets are."""
