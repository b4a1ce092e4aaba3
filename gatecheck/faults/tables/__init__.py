"""The faults themselves, as tables by cell, option, layer and call."""
