"""Every ground truth of gradient decay has a test that is named after it.

1 an orthogonal network; 2 Gaussian products; 3 a non-normal transient; 4 a constant gate; 5 chrono
and 6 uniform gates; 7 a critical unit; 8 input-driven gates; 9 zero state; 10 mean field; 11 tied
and untied weights; 12 volume; 13 paths; 14 truncation; 15 the cost of memory; 16 the adjoint
identity at length; 17 the order of a product; 18 the Hénon map.
"""

from __future__ import annotations

import ast
import re

from helpers.paths import TESTS

GROUND_TRUTHS = 18
NAME = re.compile(r"test_ground_truth_(\d+)_\w+")


def ground_truths_in(source):
    """Return the numbers of the ground truths that tests in a module are named after."""
    functions = (node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))
    return {int(match[1]) for name in functions if (match := NAME.fullmatch(name))}


def test_every_ground_truth_has_a_test():
    files = sorted((TESTS / "decay").rglob("test_*.py"))
    assert set().union(
        *(ground_truths_in(file.read_text(encoding="utf-8")) for file in files)
    ) == set(range(1, GROUND_TRUTHS + 1))


def test_a_name_counts_only_where_pytest_would_collect_it():
    assert ground_truths_in(
        "def test_ground_truth_3_x(): pass\n"
        "if 0:\n    def test_ground_truth_4_x(): pass\n"
        "# test_ground_truth_5_x"
    ) == {3}
    assert (
        ground_truths_in("def ground_truth_6_x(): pass\ndef test_ground_truth_77(): pass") == set()
    )
