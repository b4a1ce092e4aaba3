"""Mutation testing of the properties: which of them detects which planted fault."""
