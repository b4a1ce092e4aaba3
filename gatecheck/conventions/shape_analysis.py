"""Possible contents of a target's arrays, from their shapes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from gatecheck.cells import Cell
from gatecheck.conventions.layout import PARTS
from gatecheck.errors import TargetError

Shapes = Callable[[int, int], Mapping[str, tuple[int, ...]]]

PROBE_SIZES = ((3, 5), (4, 5), (3, 6))
"""Sizes D, H at which shapes are evaluated.

Three of them determine each axis as a multiple of D, of H, and of one.
"""


class Axis(NamedTuple):
    """Length of an axis, as multiples of D, of H and of one."""

    D: int
    H: int
    one: int


class Structure(NamedTuple):
    """Possible contents of the arrays, before the order of the gates is known.

    Attributes
    ----------
    matrices
        By name the parts of a matrix, joined as in a layout, and its number of gates.
    vectors
        Names of the arrays without weights, and the multiple of H that each has; of two rows where
        it is ``(2, n H)``.
    rows, stacked, form
        The `rows`, `stacked` and `vectors` of a convention.
    """

    matrices: Mapping[str, tuple[str, int]]
    vectors: Mapping[str, tuple[int, int]]
    rows: bool
    stacked: bool
    form: str


def parse_axes(shapes: Shapes, label: str) -> dict[str, tuple[Axis, ...]]:
    """Return each array's axes, from the shapes that a target gives for sizes.

    Raises
    ------
    TargetError
        If the shapes are not a dict of tuples, or their lengths are not multiples of D, H and one.
    """
    try:
        at = [
            {str(k): tuple(int(n) for n in v) for k, v in shapes(D, H).items()}
            for D, H in (*PROBE_SIZES, (5, 8))
        ]
    except (Exception, SystemExit) as error:
        raise TargetError(f"{label}.shapes raised {type(error).__name__}: {error}") from error
    base, wider, taller, check = at
    if any(
        list(other) != list(base) or any(len(other[k]) != len(base[k]) for k in base)
        for other in at
    ):
        raise TargetError(
            f"{label}.shapes gives other arrays for other sizes, "
            "but should give the same names and numbers of axes"
        )
    array_axes = {}
    for name, lengths in base.items():
        multiples = []
        for k, n in enumerate(lengths):
            d, h = wider[name][k] - n, taller[name][k] - n
            axis = Axis(d, h, n - d * PROBE_SIZES[0][0] - h * PROBE_SIZES[0][1])
            if check[name][k] != axis.D * 5 + axis.H * 8 + axis.one or min(axis) < 0:
                raise TargetError(
                    f"{label}.shapes: the axes of {name} are not multiples of D and H"
                )
            multiples.append(axis)
        array_axes[name] = tuple(multiples)
    return array_axes


def possible_structures(arrays: Mapping[str, tuple[Axis, ...]], cell: Cell) -> Iterator[Structure]:
    """Yield the ways in which arrays may hold a cell's weights, likely ones first."""
    one = Axis(0, 0, 1)
    stacked = all(len(a) > 1 and a[0] == one for a in arrays.values()) and any(
        len(a) == 3 for a in arrays.values()
    )
    bare = {name: a[1:] if stacked else a for name, a in arrays.items()}
    if any(len(a) not in (1, 2) for a in bare.values()):
        return
    vectors: dict[str, tuple[int, int]] = {}
    form = "flat"
    matrices = dict(bare)
    for name, a in bare.items():
        multiple = [axis.H if axis == Axis(0, axis.H, 0) and axis.H else 0 for axis in a]
        if len(a) == 1 and multiple[0]:
            vectors[name] = (multiple[0], 1)
        elif len(a) == 2 and Axis(0, 0, 2) in a and any(multiple):
            vectors[name] = (max(multiple), 2)
        elif len(a) == 2 and one in a and any(multiple):
            vectors[name], form = (max(multiple), 1), "column" if a[1] == one else "row"
        else:
            continue
        del matrices[name]
    G = len(cell.gates)
    for rows in (False, True):
        options = [_matrix_contents(a[::-1] if rows else a, G) for a in matrices.values()]
        for chosen in itertools.product(*options):
            if all(
                sum(n for parts, n in chosen if part in parts.split("; ")) == G for part in "WU"
            ) and all(
                sum(n for parts, n in chosen if part in parts.split("; ")) in (0, G)
                for part in "bc"
            ):
                yield Structure(
                    dict(zip(matrices, chosen, strict=True)), vectors, rows, stacked, form
                )


def _matrix_contents(axes: tuple[Axis, ...], G: int) -> list[tuple[str, int]]:
    """Return possible contents of a matrix, each with its number of gates."""
    inputs, gates = axes if len(axes) == 2 else (Axis(0, 0, 0), axes[0])
    if gates.D or gates.one or not 1 <= gates.H <= G or inputs.D > 1 or inputs.H > 1:
        return []
    parts = ["W"] * inputs.D + ["U"] * inputs.H
    if not parts or inputs.one > 2:
        return []
    orders = [list(p) for p in itertools.permutations(parts)]
    # Biases are the first rows or the last; a matrix on h alone has the second bias.
    biases: list[list[list[str]]] = [
        [[]],
        [["b" if "W" in parts else "c"]],
        [["b", "c"], ["c", "b"]],
    ]
    bias = biases[inputs.one]
    orders = [[*p, *rest] for p in orders for rest in bias] + [
        [*rest, *p] for p in orders for rest in bias if rest
    ]
    return [("; ".join(p), gates.H) for p in orders]


def vector_contents(multiple: int, rows: int, cell: Cell) -> list[str]:
    """Return the possible contents of a vector of a multiple of H, in one row or two.

    Each gives the parts of a layout and the order of the gates.

    Parameters
    ----------
    multiple, rows
        As in :class:`Structure`.
    cell
        The cell whose biases and peepholes it may hold.
    """
    G, S = len(cell.gates), len(cell.sigmoid_gates)
    own: list[tuple[str, int]] = []
    if rows == 2:
        own = [("b; c", G), ("c; b", G)] if multiple == G else []
    else:
        own += [("b", multiple), ("c", multiple)] if multiple <= G else []
        own += [("c_n", 0)] if multiple == 1 and cell.reset == "after" else []
        own += [("p", multiple)] if cell.peepholes and multiple <= S else []
        own += [("b | c", G), ("c | b", G)] if multiple == 2 * G else []
        own += (
            [("b | c_n", G), ("c_n | b", G)] if multiple == G + 1 and cell.reset == "after" else []
        )
    return [
        f"{parts} : {''.join(order)}" if n else parts
        for parts, n in own
        for order in itertools.permutations(cell.sigmoid_gates if parts == "p" else cell.gates, n)
    ]


def is_complete(contents: Iterable[str], cell: Cell) -> bool:
    """Return whether arrays hold each gate's weights, bias and peephole once.

    A second bias may be that of all gates or of the candidate.
    """
    held: dict[str, list[str]] = {part: [] for part in PARTS}
    for content in contents:
        parts, _, gates = content.replace(" ", "").partition(":")
        for part in parts.replace("|", ";").split(";"):
            held[part] += "n" if part == "c_n" else gates
    every, some = sorted(cell.gates), sorted(cell.sigmoid_gates) if cell.peepholes else []
    if any(sorted(held[part]) != every for part in "WU") or sorted(held["p"]) != some:
        return False
    if (
        sorted(held["b"]) not in ([], every)
        or sorted(held["c"]) not in ([], every)
        or len(held["c_n"]) > 1
    ):
        return False
    # A second bias needs a first, and there are never three.
    return not ((held["c"] and not held["b"]) or (held["c"] and held["c_n"]))
