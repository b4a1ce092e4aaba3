"""Text for messages."""

from __future__ import annotations

from collections.abc import Sequence


def list_names(names: Sequence[object], most: int, note: str = "") -> str:
    """Return names separated by commas, as "a, b and 3 more" beyond the first `most`.

    `note` follows the number of the rest.
    """
    rest = len(names) - most
    return ", ".join(map(str, names[:most])) + (f" and {rest} more{note}" if rest > 0 else "")
