"""Lists of names in messages."""

import pytest

from gatecheck._util.text import list_names


@pytest.mark.parametrize(
    ("count", "expected"),
    [(0, ""), (1, "n0"), (2, "n0, n1"), (3, "n0, n1 and 1 more"), (9, "n0, n1 and 7 more")],
)
def test_the_first_are_named_and_the_rest_counted(count, expected):
    names = [f"n{k}" for k in range(count)]
    assert list_names(names, 2) == expected
    noted = list_names(names, 2, " (see it)")
    assert noted == expected + (" (see it)" if count > 2 else "")
