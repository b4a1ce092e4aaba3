"""Targets, jobs, processes and files that several tests need."""
