"""Properties: functions whose docstrings state the theorems."""
