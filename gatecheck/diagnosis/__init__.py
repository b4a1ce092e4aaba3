"""Diagnosis: the convention or the faults that reproduce what a target did."""
