"""The conventions that are known by name; each was seen to reproduce its framework on random, asymmetric weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from gatecheck.cells import Array, Cell, as_cell
from gatecheck.conventions.convention import Convention
from gatecheck.errors import UsageError

CANONICAL = Convention(
    name="canonical",
    order={"rnn": "n", "gru": "rzn", "lstm": "ifgo"},
    source="gatecheck.cells",
)

PYTORCH = Convention(
    name="pytorch",
    order={"rnn": "n", "gru": "rzn", "lstm": "ifgo"},
    names={
        "W": "weight_ih_l{layer}{reverse}",
        "U": "weight_hh_l{layer}{reverse}",
        "b": "bias_ih_l{layer}{reverse}",
        "R": "weight_hr_l{layer}{reverse}",
    },
    rows=True,
    reverse="_reverse",
    second_bias="bias_hh_l{layer}{reverse}",
    negated={"gru": "z"},
    resets=("after",),
    source="torch/nn/modules/rnn.py: GRU.forward, h' = (1 - z) n + z h",
)

PYTORCH_CELL = replace(
    PYTORCH,
    name="pytorch-cell",
    names={"W": "weight_ih", "U": "weight_hh", "b": "bias_ih"},
    second_bias="bias_hh",
    source="torch/nn/modules/rnn.py: RNNCell, GRUCell, LSTMCell",
)

CONVENTIONS = {c.name: c for c in (CANONICAL, PYTORCH, PYTORCH_CELL)}


def as_convention(convention: str | Convention | None) -> Convention:
    """The convention of that name, or the convention itself; None is the canonical one.

    Raises
    ------
    UsageError
        If there is no such convention.
    """
    if convention is None:
        return CANONICAL
    if isinstance(convention, Convention):
        return convention
    if not isinstance(convention, str) or convention not in CONVENTIONS:
        raise UsageError(f"there is no convention {convention!r}; the conventions are {', '.join(CONVENTIONS)}")
    return CONVENTIONS[convention]


def convert(params: Mapping[str, Array], source: str | Convention, target: str | Convention, cell: str | Cell) -> dict[str, Array]:
    """The parameters of a cell from one convention in another.

    Parameters
    ----------
    params
        Arrays by the names of `source`.
    source, target
        Conventions, or their names.
    cell
        The cell that they parametrise.

    Returns
    -------
    dict
        New arrays by the names of `target`.

    Raises
    ------
    ConventionError
        If the arrays do not fit `source`, or `target` cannot express the cell.

    Examples
    --------
    >>> import numpy as np, gatecheck as gk
    >>> torch = {"weight_ih_l0": np.ones((6, 3)), "weight_hh_l0": np.ones((6, 2)), "bias_ih_l0": np.ones(6), "bias_hh_l0": np.ones(6)}
    >>> {name: a.shape for name, a in gk.convert(torch, "pytorch", "canonical", "gru").items()}
    {'W': (3, 6), 'U': (2, 6), 'b': (6,), 'c_n': (2,)}
    """
    cell = as_cell(cell)
    return as_convention(target).spell(cell, as_convention(source).read(cell, params))
