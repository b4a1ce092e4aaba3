"""Recurrent layers among arrays of any names: whatever convention's names and shapes they have."""

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
from gatecheck.conventions.layout import Held, held
from gatecheck.errors import ConventionError, WeightsFileError
from gatecheck.weights.stored import Said, doubled, spelled

KERAS_VARS = replace(
    CONVENTIONS["keras"],
    layouts={
        kind: replace(
            layout,
            arrays={f"vars/{k}": content for k, content in enumerate(layout.arrays.values())},
        )
        for kind, layout in CONVENTIONS["keras"].layouts.items()
    },
    source="keras/src/saving/saving_lib.py (3.15): weights are numbered in the order in which a cell made them",
)
"""Keras 3 in HDF5. It is named as Keras is, since it is the same but for the names."""

OWN_CELLS = {
    ("haiku", "rnn"): RNN("relu"),
    ("haiku", "lstm"): LSTM(forget_bias=1.0),
    ("tensorflow1", "lstm"): LSTM(forget_bias=1.0),
    ("dynet", "lstm"): LSTM(forget_bias=1.0),
}
"""What a convention's layers of a kind are, where not the plain cell: see the sources of the
conventions.
"""

TELLING = {
    ("haiku", "rnn"): re.compile(r"(.*\.)?\w*rnn(_\d+)?"),
    ("haiku", "lstm"): re.compile(r"(.*\.)?\w*lstm(_\d+)?"),
    ("tensorflow1", "rnn"): re.compile(r"(.*\.)?\w*rnn_cell(_\d+)?"),
    ("tensorflow1", "lstm"): re.compile(r"(.*\.)?\w*lstm_cell(_\d+)?"),
}
"""What a layer has to be called where its arrays have the names of any dense layer's, unless the
convention is given.
"""

BACKWARDS = {"backward", "backward_layer", "backward_rnn", "reverse"}
"""Names of the reverse direction in Keras and Flax, where it is a layer of its own."""


@dataclass(frozen=True, eq=False)
class Layer:
    """One recurrent layer in one direction, with its weights.

    Attributes
    ----------
    name
        What stands before the names of its arrays, joined by dots; empty where nothing does.
    layer
        Its number in a stack that shares the name, from 0 on; None where the convention's names
        have no numbers.
    reverse
        Whether it runs from the last step to the first.
    cell
        What it is; one layer in one direction. A forget bias that is added at run time is in its b
        already.
    convention
        The name of the convention in which it was found.
    D, H
        Input size and hidden size.
    arrays
        Its own arrays, as in the file.
    notes
        What was assumed of it, in sentences.
    """

    name: str
    layer: int | None
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
        return self._read({k: doubled(a) for k, a in self.arrays.items()})

    @property
    def label(self) -> str:
        """How it is chosen among others: ``encoder.lstm``, ``encoder.lstm.l1.reverse``, and ``.``
        for a layer without a name.
        """
        number = [] if self.layer is None else [f"l{self.layer}"]
        turned = ["reverse"] if self.reverse and not BACKWARDS & {*self.name.split(".")} else []
        return ".".join([*([self.name] if self.name else []), *number, *turned]) or "."

    def __str__(self) -> str:
        return f"{self.label} ({self.cell}, D={self.D}, H={self.H}, as in {self.convention})"


class Found(NamedTuple):
    """Layers, of which several may be readings of the same arrays, and why other arrays are none."""

    layers: list[Layer]
    misses: list[str]


class _Place(NamedTuple):
    name: str
    layer: int | None
    reverse: bool


class _Reading(NamedTuple):
    """A layer as one convention and cell have it.

    Attributes
    ----------
    score
        How many of its arrays are there, and how few of those are missing that could be.
    first
        The number of its first array in the file.
    same
        Equal for readings that come to the same.
    """

    score: tuple[int, int]
    first: int
    same: Any
    layer: Layer


def find_layers(
    arrays: Mapping[str, Array],
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    said: Mapping[str, Said | None] | None = None,
) -> list[Layer]:
    """The recurrent layers among arrays.

    Parameters
    ----------
    arrays
        By name, of any convention.
    cell, convention
        What they are, where that is known; otherwise every kind of cell and every known convention
        is tried.
    said
        What is known of the layers of some names; where that is None, they are layers only if
        `cell` says so.

    Returns
    -------
    list of Layer
        In the order of the arrays. Where the arrays of a layer fit more than one cell or convention
        equally, and that makes a difference, it is there once for each.

    Raises
    ------
    UsageError
        If there is no such cell or convention.
    WeightsFileError
        If two arrays have names that differ in separators only.
    """
    return search(arrays, cell=cell, convention=convention, said=said).layers


def search(
    arrays: Mapping[str, Array],
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    said: Mapping[str, Said | None] | None = None,
) -> Found:
    """As :func:`find_layers`, with what has the names of a layer and is none."""
    only = None if cell is None else as_cell(cell).one
    named: dict[str, tuple[int, Array]] = {}
    for k, (name, array) in enumerate(arrays.items()):
        if spelled(name) in named:
            raise WeightsFileError(
                f"{name} and another array have one name but for separators, {spelled(name)}"
            )
        named[spelled(name)] = k, array
    best: dict[_Place, list[_Reading]] = {}
    misses: dict[str, str] = {}
    for spelling in _conventions(convention):
        for kind in spelling.layouts:
            for place in _places(spelling, kind, named):
                word = (said or {}).get(place.name)
                if word is None and place.name in (said or {}) and only is None:
                    misses[
                        f"{place.name} is no RNN, GRU or LSTM as far as the file says; --cell can say what it is"
                    ] = place.name
                    continue
                telling = None if convention else TELLING.get((spelling.name, kind))
                if (word and word.convention != spelling.name) or (
                    telling and not telling.fullmatch(place.name)
                ):
                    continue
                if word and only and word.cell != only:
                    misses[f"{place.name} is a {word.cell}, as the file says, and no {only}"] = (
                        place.name
                    )
                    continue
                for made in _cells(
                    spelling, kind, place, named, only or (word.cell if word else None)
                ):
                    for reading in _readings(
                        spelling, place, made, named, word, misses, told=bool(only or word)
                    ):
                        layer = reading.layer
                        own = best.setdefault(_Place(layer.name, layer.layer, layer.reverse), [])
                        if reading.same not in [other.same for other in own]:
                            own.append(reading)
    kept = [r for own in best.values() for r in own if r.score == max(other.score for other in own)]
    known = {r.layer.name for r in kept}
    layers = [r.layer for r in sorted(kept, key=lambda r: r.first)]
    return Found(layers, [text for text, name in misses.items() if name not in known])


def _conventions(convention: str | Convention | None) -> list[Convention]:
    if convention is None:
        return [*CONVENTIONS.values(), KERAS_VARS]
    chosen = as_convention(convention)
    return [chosen, KERAS_VARS] if chosen is CONVENTIONS["keras"] else [chosen]


def _places(spelling: Convention, kind: str, named: Mapping[str, Any]) -> Iterator[_Place]:
    """Wherever there is an array with the name of one that holds weights of x."""
    marks = {k: f"<{k}>" for k in ("layer", "reverse", "tag")}
    anchor = next(
        h for h in held(spelling.layouts[kind], as_cell(kind), marks) if "W" in dict(h.parts)
    )
    number, turned = (
        r"(?P<layer>\d{1,4})",
        f"(?P<reverse>{re.escape(spelling.reverse.replace('/', '.'))})?",
    )
    tag = rf"(?:\.l{number})?(?P<reverse>\.reverse)?"
    pattern = (
        re.escape(spelled(anchor.name))
        .replace("<layer>", number)
        .replace("<reverse>", turned)
        .replace("<tag>", tag)
    )
    whole = re.compile(rf"(?:(?P<prefix>.*?)\.)?{pattern}")
    # most names are none of these, and a search is slow
    literal = max(re.split("<[a-z]+>", spelled(anchor.name)), key=len)
    for match in filter(None, (whole.fullmatch(name) for name in named if literal in name)):
        got = match.groupdict()
        yield _Place(
            got["prefix"] or "",
            int(got["layer"]) if got.get("layer") else None,
            bool(got.get("reverse")),
        )


def _cells(
    spelling: Convention,
    kind: str,
    place: _Place,
    named: Mapping[str, tuple[int, Array]],
    known: Cell | None,
) -> list[Cell]:
    """What a layer of a kind may be: that which is known, or the plain cell and those options that
    have arrays of their own.
    """
    if known is not None:
        return [known] if kind == ("gru-before" if known.reset == "before" else known.kind) else []
    plain = OWN_CELLS.get((spelling.name, kind), as_cell(kind))
    if kind != "lstm":
        return [plain]
    contents = " ".join(spelling.layouts[kind].arrays.values()).split()
    widths: list[int | None] = [None]
    if "R" in contents:
        # Which axis of R is that of h only the other arrays tell, so each is tried.
        names = [
            h.name
            for _, h in _pairs(spelling, replace(plain, projection=1), place)
            if "R" in dict(h.parts)
        ]
        widths += sorted(
            {n for name in names for n in (named[name][1].shape[-2:] if name in named else ()) if n}
        )
    peepholes = [False, True] if "p" in contents else [False]
    return [replace(plain, projection=P, peepholes=p) for P in widths for p in peepholes]


def _pairs(spelling: Convention, cell: Cell, place: _Place) -> list[tuple[Held, Held]]:
    """Each array of a layer as it would be called in a first layer alone, and as it is here, with
    the whole name.
    """
    layout = spelling.layout(cell)
    tag = (f".l{place.layer}" if place.layer else "") + (".reverse" if place.reverse else "")
    where = {
        "layer": place.layer or 0,
        "reverse": spelling.reverse if place.reverse else "",
        "tag": tag,
    }
    here = held(layout, cell, where)
    alone = held(layout, cell, _ALONE)
    return [
        (a, h._replace(name=spelled(f"{place.name}/{h.name}")))
        for a, h in zip(alone, here, strict=True)
    ]


def _readings(
    spelling: Convention,
    place: _Place,
    cell: Cell,
    named: Mapping[str, tuple[int, Array]],
    word: Said | None,
    misses: dict[str, str],
    *,
    told: bool,
) -> Iterator[_Reading]:
    """The layer at a place, if it is that cell; both of its directions, where they lie in one
    array.
    """
    try:
        pairs = _pairs(spelling, cell, place)
    except ConventionError:  # the convention has no such cell
        return
    there = {alone.name: named[here.name] for alone, here in pairs if here.name in named}
    trimmed = _without(spelling, cell, {alone.name for alone, _ in pairs} - set(there))
    if trimmed is None:
        return
    arrays = {name: array for name, (_, array) in there.items()}
    missing = [here.name for alone, here in pairs if alone.name not in there]
    biases = sum(_is_bias(alone) for alone, _ in pairs)
    score = (len(there), -len(missing) if biases > len(missing) else 0)
    first = min(k for k, _ in there.values())
    notes = _notes(spelling, cell, missing if len(missing) < biases else [], told=told)
    counts = {len(a) if a.ndim else 0 for a in arrays.values()} if spelling.stacked else {1}
    try:
        if (
            any(a.dtype.kind != "f" for a in arrays.values())
            or not counts <= {1, 2}
            or len(counts) > 1
        ):
            raise ConventionError("not numbers")
        for direction in range(counts.pop()):
            own = {
                k: a[direction : direction + 1] if spelling.stacked else a
                for k, a in arrays.items()
            }
            D, H = trimmed.sizes(cell, own)
            if not D or not H:
                raise ConventionError("empty")
            turned = (
                place.reverse
                or bool(direction)
                or bool(word and word.reverse)
                or bool(BACKWARDS & {*place.name.split(".")})
            )
            plain, read = replace(cell, forget_bias=0.0), partial(_canonical, trimmed, cell)
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
            yield _Reading(
                score,
                first,
                same,
                Layer(
                    place.name, place.layer, turned, plain, spelling.name, D, H, own, notes, read
                ),
            )
    except ConventionError:
        shapes = ", ".join(
            f"{here.name} {_described(named[here.name][1])}"
            for _, here in pairs
            if here.name in named
        )
        misses[f"{shapes} have the names of {spelling.name}'s, but fit no cell of it"] = place.name


def _canonical(spelling: Convention, cell: Cell, arrays: Mapping[str, Array]) -> dict[str, Array]:
    """Canonical parameters, with a forget bias that the cell adds at run time in b."""
    params = spelling.read(cell, arrays)
    if cell.forget_bias:
        block(cell, params["b"], "f")[...] += cell.forget_bias
    return params


def _without(spelling: Convention, cell: Cell, missing: set[str]) -> Convention | None:
    """The convention without arrays that are not there, or None if a layer cannot do without them:
    only biases can be left out.
    """
    layout, kept = spelling.layout(cell), {}
    for template, content in layout.arrays.items():
        arrays = list(held(replace(layout, arrays={template: content}), cell, _ALONE))
        names = {h.name for h in arrays}
        if names and not names & missing:
            kept[template] = content
        elif not names <= missing or not all(map(_is_bias, arrays)):
            return None
    kind = "gru-before" if cell.reset == "before" else cell.kind
    return replace(spelling, layouts={kind: replace(layout, arrays=kept)})


_ALONE = {"layer": 0, "reverse": "", "tag": ""}


def _is_bias(array: Held) -> bool:
    return all(part in ("b", "c", "c_n") for part, _ in array.parts)


def _described(array: Array) -> str:
    return f"{array.shape}" if array.dtype.kind == "f" else f"{array.dtype} {array.shape}"


def _notes(spelling: Convention, cell: Cell, missing: list[str], *, told: bool) -> tuple[str, ...]:
    """What is assumed of a layer."""
    notes = [f"{', '.join(missing)}: not in the file, and taken as zero"] if missing else []
    if cell.forget_bias:
        notes.append(
            f"{cell.forget_bias:g} was added to the bias of its forget gate, as {spelling.name} does at run time"
        )
    if cell.kind == "rnn" and not told:
        notes.append(f"its activation was taken to be {cell.activation}, since arrays do not tell")
    return tuple(notes)
