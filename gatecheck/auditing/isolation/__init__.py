"""Targets in a process of their own, which may crash or hang without ending the audit."""
