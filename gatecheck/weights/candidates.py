"""Candidates for a layer: its arrays as read in one convention and cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import block
from gatecheck.conventions import Convention
from gatecheck.conventions.layout import LayoutArray, layout_arrays
from gatecheck.errors import ConventionError
from gatecheck.weights.layers import REVERSE_NAMES, Layer
from gatecheck.weights.stored import LayerMetadata, normalize_name


class Place(NamedTuple):
    name: str
    number: int | None
    reverse: bool


class Candidate(NamedTuple):
    """Interpretation of a layer's arrays in one convention and cell.

    Attributes
    ----------
    score
        The number of its arrays in the file, and minus the number of missing biases.
    first_array
        The index of its first array in the file.
    key
        A key, equal for equivalent interpretations.
    """

    score: tuple[int, int]
    first_array: int
    key: Any
    layer: Layer


def array_pairs(
    convention: Convention, cell: Cell, place: Place
) -> list[tuple[LayoutArray, LayoutArray]]:
    """Pair each array as named in a single layer with the one named at this place."""
    layout = convention.layout(cell)
    tag = (f".l{place.number}" if place.number else "") + (".reverse" if place.reverse else "")
    where = {
        "layer": place.number or 0,
        "reverse": convention.reverse if place.reverse else "",
        "tag": tag,
    }
    here = layout_arrays(layout, cell, where)
    alone = layout_arrays(layout, cell, _SINGLE_LAYER)
    return [
        (a, h._replace(name=normalize_name(f"{place.name}/{h.name}")))
        for a, h in zip(alone, here, strict=True)
    ]


def candidates(
    convention: Convention,
    place: Place,
    cell: Cell,
    named: Mapping[str, tuple[int, Array]],
    metadata: LayerMetadata | None,
    rejections: dict[str, str],
    *,
    cell_known: bool,
) -> Iterator[Candidate]:
    """Yield the layer at a place, if its arrays fit the cell.

    Two directions in one array yield two layers.
    """
    try:
        pairs = array_pairs(convention, cell, place)
    except ConventionError:  # the convention has no such cell
        return
    present = {alone.name: named[here.name] for alone, here in pairs if here.name in named}
    trimmed = _without_arrays(convention, cell, {alone.name for alone, _ in pairs} - set(present))
    if trimmed is None:
        return
    arrays = {name: array for name, (_, array) in present.items()}
    missing = [here.name for alone, here in pairs if alone.name not in present]
    biases = sum(_is_bias(alone) for alone, _ in pairs)
    score = (len(present), -len(missing) if biases > len(missing) else 0)
    first = min(k for k, _ in present.values())
    notes = _notes(
        convention, cell, missing if len(missing) < biases else [], cell_known=cell_known
    )
    counts = {len(a) if a.ndim else 0 for a in arrays.values()} if convention.stacked else {1}
    try:
        if (
            any(a.dtype.kind != "f" for a in arrays.values())
            or not counts <= {1, 2}
            or len(counts) > 1
        ):
            raise ConventionError("not numbers")
        for direction in range(counts.pop()):
            own = {
                k: a[direction : direction + 1] if convention.stacked else a
                for k, a in arrays.items()
            }
            D, H = trimmed.sizes(cell, own)
            if not D or not H:
                raise ConventionError("empty")
            reverse = (
                place.reverse
                or bool(direction)
                or bool(metadata and metadata.reverse)
                or bool(REVERSE_NAMES & {*place.name.split(".")})
            )
            plain, read = replace(cell, forget_bias=0.0), partial(_canonical_params, trimmed, cell)
            layout = trimmed.layout(cell)
            same = (
                plain,
                cell.forget_bias,
                layout,
                trimmed.rows,
                trimmed.interleaved,
                trimmed.vectors,
                trimmed.stacked,
            )
            yield Candidate(
                score,
                first,
                same,
                Layer(
                    place.name,
                    place.number,
                    reverse,
                    plain,
                    convention.name,
                    D,
                    H,
                    own,
                    notes,
                    read,
                ),
            )
    except ConventionError:
        shapes = ", ".join(
            f"{here.name} {_describe(named[here.name][1])}"
            for _, here in pairs
            if here.name in named
        )
        rejections[f"{shapes} are named as in {convention.name}, but fit none of its cells"] = (
            place.name
        )


def _canonical_params(
    convention: Convention, cell: Cell, arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Return canonical parameters; a forget bias added at run time is included in b."""
    params = convention.to_canonical(cell, arrays)
    if cell.forget_bias:
        block(cell, params["b"], "f")[...] += cell.forget_bias
    return params


def _without_arrays(convention: Convention, cell: Cell, missing: set[str]) -> Convention | None:
    """Return the convention without missing arrays, or None if any is not a bias."""
    layout, present = convention.layout(cell), {}
    for template, content in layout.arrays.items():
        arrays = list(
            layout_arrays(replace(layout, arrays={template: content}), cell, _SINGLE_LAYER)
        )
        names = {h.name for h in arrays}
        if names and not names & missing:
            present[template] = content
        elif not names <= missing or not all(map(_is_bias, arrays)):
            return None
    kind = "gru-before" if cell.reset == "before" else cell.kind
    return replace(convention, layouts={kind: replace(layout, arrays=present)})


_SINGLE_LAYER = {"layer": 0, "reverse": "", "tag": ""}


def _is_bias(array: LayoutArray) -> bool:
    return all(part in ("b", "c", "c_n") for part, _ in array.parts)


def _describe(array: Array) -> str:
    return f"{array.shape}" if array.dtype.kind == "f" else f"{array.dtype} {array.shape}"


def _notes(
    convention: Convention, cell: Cell, missing: list[str], *, cell_known: bool
) -> tuple[str, ...]:
    """Return the assumptions about a layer."""
    notes = [f"{', '.join(missing)}: not in the file, and taken as zero"] if missing else []
    if cell.forget_bias:
        notes.append(
            f"{cell.forget_bias:g} was added to the bias of its forget gate, "
            f"as {convention.name} does at run time"
        )
    if cell.kind == "rnn" and not cell_known:
        notes.append(f"its activation is assumed to be {cell.activation}: arrays do not show it")
    return tuple(notes)
