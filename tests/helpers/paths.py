"""Folders of the repository that tests read."""

from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]

ROOT = TESTS.parent

EXAMPLES = TESTS / "examples"
"""Cells in C and other languages, and a framework that gatecheck does not know."""

STYLES = TESTS / "helpers" / "code_styles"
"""Cells written by hand in six styles."""

HOSTILE = TESTS / "helpers" / "hostile_targets.py"
"""Targets that crash, hang, lie or damage."""
