"""Targets in a separate process, which may crash or hang without ending the audit."""
