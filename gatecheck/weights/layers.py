"""Search for recurrent layers among arrays by names and shapes of all conventions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, NamedTuple

from gatecheck._util.typing import Array
from gatecheck.cells import LSTM, RNN, Cell, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.conventions import CONVENTIONS, Convention, as_convention
from gatecheck.conventions.layout import LayoutArray, layout_arrays
from gatecheck.errors import ConventionError, WeightsFileError
from gatecheck.weights.stored import LayerMetadata, as_float64, normalize_name

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

REVERSE_NAMES = {"backward", "backward_layer", "backward_rnn", "reverse"}
"""Names of the reverse direction in Keras and Flax, where it is a separate layer."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One recurrent layer in one direction, with its weights.

    Attributes
    ----------
    name
        The prefix of the names of its arrays, joined by dots; may be empty.
    layer
        Its number in a stack that shares the name, from 0; None if the convention's names have no
        numbers.
    reverse
        True if it runs from the last step to the first.
    cell
        Its cell: one layer in one direction. A forget bias added at run time is already in b.
    convention
        The name of the convention in which it was found.
    D, H
        Input size and hidden size.
    arrays
        Its arrays, as in the file.
    notes
        Assumptions about it, in sentences.
    """

    name: str
    number: int | None
    reverse: bool
    cell: Cell
    convention: str
    D: int
    H: int
    arrays: Mapping[str, Array]
    notes: tuple[str, ...]
    _read: Callable[[Mapping[str, Array]], dict[str, Array]]

    @cached_property
    def params(self) -> dict[str, Array]:
        """Canonical parameters, float64."""
        return self._read({k: as_float64(a) for k, a in self.arrays.items()})

    @property
    def label(self) -> str:
        """Label that selects this layer, such as ``encoder.lstm.l1.reverse``.

        It is ``.`` for a layer without a name.
        """
        suffix = [] if self.number is None else [f"l{self.number}"]
        turned = ["reverse"] if self.reverse and not REVERSE_NAMES & {*self.name.split(".")} else []
        return ".".join([*([self.name] if self.name else []), *suffix, *turned]) or "."

    def __str__(self) -> str:
        return f"{self.label} ({self.cell}, D={self.D}, H={self.H}, as in {self.convention})"


class SearchResult(NamedTuple):
    """Layers found, perhaps several from the same arrays, and reasons for rejections."""

    layers: list[Layer]
    rejections: list[str]


class _Place(NamedTuple):
    name: str
    number: int | None
    reverse: bool


class _Candidate(NamedTuple):
    """Interpretation of a layer's arrays in one convention and cell.

    Attributes
    ----------
    score
        The number of its arrays in the file, and minus the number of missing biases.
    first
        The index of its first array in the file.
    key
        A key, equal for equivalent interpretations.
    """

    score: tuple[int, int]
    first_array: int
    key: Any
    layer: Layer


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
) -> SearchResult:
    """Return the layers and the reasons for rejections; see :func:`find_layers`."""
    only = None if cell is None else as_cell(cell).layer_cell
    named: dict[str, tuple[int, Array]] = {}
    for k, (name, array) in enumerate(arrays.items()):
        if normalize_name(name) in named:
            raise WeightsFileError(
                f"the names of {name} and another array differ in separators only: {normalize_name(name)}"
            )
        named[normalize_name(name)] = k, array
    best: dict[_Place, list[_Candidate]] = {}
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
                    for reading in _candidates(
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
                            _Place(layer.name, layer.number, layer.reverse), []
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


def _places(convention: Convention, kind: str, named: Mapping[str, Any]) -> Iterator[_Place]:
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
        yield _Place(
            parts["prefix"] or "",
            int(parts["layer"]) if parts.get("layer") else None,
            bool(parts.get("reverse")),
        )


def _candidate_cells(
    convention: Convention,
    kind: str,
    place: _Place,
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
            for _, h in _array_pairs(convention, replace(plain, projection=1), place)
            if "R" in dict(h.parts)
        ]
        widths += sorted(
            {n for name in names for n in (named[name][1].shape[-2:] if name in named else ()) if n}
        )
    peepholes = [False, True] if "p" in contents else [False]
    return [replace(plain, projection=P, peepholes=p) for P in widths for p in peepholes]


def _array_pairs(
    convention: Convention, cell: Cell, place: _Place
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


def _candidates(
    convention: Convention,
    place: _Place,
    cell: Cell,
    named: Mapping[str, tuple[int, Array]],
    metadata: LayerMetadata | None,
    rejections: dict[str, str],
    *,
    cell_known: bool,
) -> Iterator[_Candidate]:
    """Yield the layer at a place, if its arrays fit the cell.

    Two directions in one array yield two layers.
    """
    try:
        pairs = _array_pairs(convention, cell, place)
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
            yield _Candidate(
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
