"""Conventions by name, and conversion between them."""

from __future__ import annotations

from collections.abc import Mapping

from gatecheck._util.arguments import MAPPING, describe_argument, error_context, validate_args
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import entries
from gatecheck.conventions.convention import Convention
from gatecheck.errors import UsageError

CONVENTIONS = {c.name: c for c in vars(entries).values() if isinstance(c, Convention)}


def as_convention(convention: str | Convention | None) -> Convention:
    """Return the convention of a name, or the convention itself; None is canonical.

    Raises
    ------
    UsageError
        If there is no such convention.
    """
    if convention is None:
        return entries.CANONICAL
    if isinstance(convention, Convention):
        return convention
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise UsageError(
            f"there is no convention {describe_argument(convention)}; "
            f"the conventions are {', '.join(CONVENTIONS)}"
        )
    return CONVENTIONS[convention]


@validate_args(params=MAPPING)
def convert(
    params: Mapping[str, Array],
    source: str | Convention,
    target: str | Convention,
    cell: str | Cell,
) -> dict[str, Array]:
    """Convert the parameters of a cell from one convention to another.

    Parameters
    ----------
    params
        Arrays by their names in `source`.
    source, target
        Conventions, or their names.
    cell
        The cell that they parametrize.

    Returns
    -------
    dict
        New arrays by their names in `target`.

    Raises
    ------
    ConventionError
        If the arrays do not fit `source`, or `target` cannot express the cell.

    Examples
    --------
    >>> import numpy as np, gatecheck as gk
    >>> torch = {"weight_ih_l0": np.ones((6, 3)), "weight_hh_l0": np.ones((6, 2))}
    >>> torch |= {"bias_ih_l0": np.ones(6), "bias_hh_l0": np.ones(6)}
    >>> {name: a.shape for name, a in gk.convert(torch, "pytorch", "canonical", "gru").items()}
    {'W': (3, 6), 'U': (2, 6), 'b': (6,), 'c_n': (2,)}
    """
    cell = as_cell(cell)
    with error_context("source"):
        origin = as_convention(source)
    with error_context("target"):
        destination = as_convention(target)
    return destination.from_canonical(cell, origin.to_canonical(cell, params))
