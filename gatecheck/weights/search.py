"""Search for recurrent layers among arrays by names and shapes of all conventions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any, NamedTuple

from gatecheck._util.plain_files import Allowance
from gatecheck._util.typing import Array
from gatecheck.cells import LSTM, RNN, Cell, as_cell
from gatecheck.conventions import CONVENTIONS, Convention, as_convention
from gatecheck.conventions.layout import layout_arrays
from gatecheck.errors import WeightsFileError
from gatecheck.weights.candidates import Candidate, Place, array_pairs, candidates
from gatecheck.weights.layers import Layer
from gatecheck.weights.stored import LayerMetadata, normalize_name

KERAS_VARS = replace(
    CONVENTIONS["keras"],
    layouts={
        kind: replace(
            layout,
            arrays={f"vars/{k}": content for k, content in enumerate(layout.arrays.values())},
        )
        for kind, layout in CONVENTIONS["keras"].layouts.items()
    },
    source="keras/src/saving/saving_lib.py (3.15): weights are numbered in the order in which a "
    "cell made them",
)
"""Convention of Keras 3 in HDF5, named as Keras since only its array names differ."""

CONVENTION_CELLS = {
    ("haiku", "rnn"): RNN("relu"),
    ("haiku", "lstm"): LSTM(forget_bias=1.0),
    ("tensorflow1", "lstm"): LSTM(forget_bias=1.0),
    ("dynet", "lstm"): LSTM(forget_bias=1.0),
}
"""Cells of conventions whose layers of a kind are not the plain cell.

See the sources of the conventions.
"""

REQUIRED_NAMES = {
    ("haiku", "rnn"): re.compile(r"(.*\.)?\w*rnn(_\d+)?"),
    ("haiku", "lstm"): re.compile(r"(.*\.)?\w*lstm(_\d+)?"),
    ("tensorflow1", "rnn"): re.compile(r"(.*\.)?\w*rnn_cell(_\d+)?"),
    ("tensorflow1", "lstm"): re.compile(r"(.*\.)?\w*lstm_cell(_\d+)?"),
}
"""Required layer names where arrays have the names of any dense layer's.

They are not required if the convention is given.
"""


class SearchResult(NamedTuple):
    """Layers found, perhaps several from the same arrays, and reasons for rejections."""

    layers: list[Layer]
    rejections: list[str]


def find_layers(
    arrays: Mapping[str, Array],
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    metadata: Mapping[str, LayerMetadata | None] | None = None,
) -> list[Layer]:
    """Return the recurrent layers among arrays.

    Parameters
    ----------
    arrays
        Arrays by name, of any convention.
    cell, convention
        The cell and convention, if known; otherwise every kind of cell and every known convention
        is tried.
    metadata
        Metadata of layers by name; a layer whose metadata are None is found only if `cell` is
        given.

    Returns
    -------
    list of Layer
        In the order of the arrays. A layer whose arrays fit more than one cell or convention
        equally, with different results, appears once for each.

    Raises
    ------
    UsageError
        If the cell or convention is unknown.
    WeightsFileError
        If the names of two arrays differ in separators only.
    """
    return search_layers(arrays, cell=cell, convention=convention, metadata=metadata).layers


def search_layers(
    arrays: Mapping[str, Array],
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    metadata: Mapping[str, LayerMetadata | None] | None = None,
    allowance: Allowance | None = None,
) -> SearchResult:
    """Return the layers and the reasons for rejections; see :func:`find_layers`.

    Raises
    ------
    ArchiveError
        If there are more readings to try than the allowance of the file has.
    """
    only = None if cell is None else as_cell(cell).layer_cell
    named: dict[str, tuple[int, Array]] = {}
    for k, (name, array) in enumerate(arrays.items()):
        if normalize_name(name) in named:
            raise WeightsFileError(
                f"the names of {name} and another array differ in separators only: "
                f"{normalize_name(name)}"
            )
        named[normalize_name(name)] = k, array
    best: dict[Place, list[Candidate]] = {}
    misses: dict[str, str] = {}
    for candidate in _conventions(convention):
        for kind in candidate.layouts:
            for place in _places(candidate, kind, named):
                layer_metadata = (metadata or {}).get(place.name)
                if layer_metadata is None and place.name in (metadata or {}) and only is None:
                    misses[
                        f"{place.name} is not an RNN, GRU or LSTM according to the file; "
                        "say --cell if it is one"
                    ] = place.name
                    continue
                pattern = None if convention else REQUIRED_NAMES.get((candidate.name, kind))
                if (layer_metadata and layer_metadata.convention != candidate.name) or (
                    pattern and not pattern.fullmatch(place.name)
                ):
                    continue
                if layer_metadata and only and layer_metadata.cell != only:
                    misses[
                        f"{place.name} is a {layer_metadata.cell} according to the file, "
                        f"but should be a {only}"
                    ] = place.name
                    continue
                for variant in _candidate_cells(
                    candidate,
                    kind,
                    place,
                    named,
                    only or (layer_metadata.cell if layer_metadata else None),
                ):
                    if allowance is not None:
                        allowance.spend(f"the search at {place.name}", 1, "readings")
                    for reading in candidates(
                        candidate,
                        place,
                        variant,
                        named,
                        layer_metadata,
                        misses,
                        cell_known=bool(only or layer_metadata),
                    ):
                        layer = reading.layer
                        readings = best.setdefault(
                            Place(layer.name, layer.number, layer.reverse), []
                        )
                        if reading.key not in [other.key for other in readings]:
                            readings.append(reading)
    best_readings = [
        r
        for readings in best.values()
        for r in readings
        if r.score == max(other.score for other in readings)
    ]
    known = {r.layer.name for r in best_readings}
    layers = [r.layer for r in sorted(best_readings, key=lambda r: r.first_array)]
    return SearchResult(layers, [text for text, name in misses.items() if name not in known])


def _conventions(convention: str | Convention | None) -> list[Convention]:
    if convention is None:
        return [*CONVENTIONS.values(), KERAS_VARS]
    chosen = as_convention(convention)
    return [chosen, KERAS_VARS] if chosen is CONVENTIONS["keras"] else [chosen]


def _places(convention: Convention, kind: str, named: Mapping[str, Any]) -> Iterator[Place]:
    """Yield the places of arrays whose names are those of input weights."""
    marks = {k: f"<{k}>" for k in ("layer", "reverse", "tag")}
    anchor = next(
        h
        for h in layout_arrays(convention.layouts[kind], as_cell(kind), marks)
        if "W" in dict(h.parts)
    )
    number, turned = (
        r"(?P<layer>\d{1,4})",
        f"(?P<reverse>{re.escape(convention.reverse.replace('/', '.'))})?",
    )
    tag = rf"(?:\.l{number})?(?P<reverse>\.reverse)?"
    pattern = (
        re.escape(normalize_name(anchor.name))
        .replace("<layer>", number)
        .replace("<reverse>", turned)
        .replace("<tag>", tag)
    )
    whole = re.compile(rf"(?:(?P<prefix>.*?)\.)?{pattern}")
    # A substring test rejects most names faster than the pattern.
    literal = max(re.split("<[a-z]+>", normalize_name(anchor.name)), key=len)
    for match in filter(None, (whole.fullmatch(name) for name in named if literal in name)):
        parts = match.groupdict()
        yield Place(
            parts["prefix"] or "",
            int(parts["layer"]) if parts.get("layer") else None,
            bool(parts.get("reverse")),
        )


def _candidate_cells(
    convention: Convention,
    kind: str,
    place: Place,
    named: Mapping[str, tuple[int, Array]],
    known_cell: Cell | None,
) -> list[Cell]:
    """Return the cells that a layer of a kind may have.

    This is the known cell, or the plain cell and its variants with additional arrays.
    """
    if known_cell is not None:
        return (
            [known_cell]
            if kind == ("gru-before" if known_cell.reset == "before" else known_cell.kind)
            else []
        )
    plain = CONVENTION_CELLS.get((convention.name, kind), as_cell(kind))
    if kind != "lstm":
        return [plain]
    contents = " ".join(convention.layouts[kind].arrays.values()).split()
    widths: list[int | None] = [None]
    if "R" in contents:
        # Only the other arrays show which axis of R is that of h, so each is tried.
        names = [
            h.name
            for _, h in array_pairs(convention, replace(plain, projection=1), place)
            if "R" in dict(h.parts)
        ]
        widths += sorted(
            {n for name in names for n in (named[name][1].shape[-2:] if name in named else ()) if n}
        )
    peepholes = [False, True] if "p" in contents else [False]
    return [replace(plain, projection=P, peepholes=p) for P in widths for p in peepholes]
