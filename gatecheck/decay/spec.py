"""Specs of decay studies, and their parser for TOML files.

One table of keys gives the parser, its errors and the commented example.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from gatecheck._util.arguments import describe_argument
from gatecheck._util.documents import parse_toml, read_text
from gatecheck.decay.spec_keys import KEYS, Key
from gatecheck.errors import InputError, UsageError, shorten
from gatecheck.targets.loading import resolve_in_folder

DEFAULT_NETWORKS = (
    ("rnn", "uniform"),
    ("rnn", "glorot_orthogonal"),
    ("gru", "uniform"),
    ("lstm", "uniform"),
    ("lstm", "unit_forget_bias"),
    ("lstm", "chrono:1000"),
    ("gru", "chrono:1000"),
)


MAX_COMBINATIONS = 10**4
"""Most networks and trainings of a study; each takes seconds."""

MAX_JOBS = 10**5
"""Most networks times seeds of a study."""

MAX_PARSED = 2**19
"""Characters that are parsed again, at most, to find the line of a mistake."""


@dataclass(frozen=True)
class NetworkSpec:
    """Network of a study: a cell with an initialization or weights, and what runs it.

    The fields are the keys of ``[[network]]``.
    """

    cell: str | None = None
    init: str | None = None
    hidden: int = 128
    inputs: int = 16
    input_std: float = 1.0
    weights: str | None = None
    layer: str | None = None
    convention: str | None = None
    data: str | None = None
    target: str | None = None


@dataclass(frozen=True)
class MeasureSpec:
    """Quantities to measure in addition to the profile.

    The fields are the keys of ``[measure]``.
    """

    paths: bool = True
    inputs: bool = True
    gates: bool = True
    truncation: bool = True
    spectrum_steps: int = 0


@dataclass(frozen=True)
class TrainingSpec:
    """Network to train. The fields are the keys of ``[[training]]``."""

    cell: str
    task: str
    init: str | None = None
    lag: int = 50
    hidden: int = 32
    updates: int = 4000
    seeds: int = 3


@dataclass(frozen=True)
class Spec:
    """Whole study. The fields are the keys at the top of the file.

    See :data:`gatecheck.decay.spec_keys.KEYS` for the meaning of each.
    """

    networks: tuple[NetworkSpec, ...]
    title: str = "How far back gradients reach"
    seed: int = 0
    seeds: int = 5
    steps: int = 4000
    lag: int | None = None
    measure: MeasureSpec = MeasureSpec()
    training: tuple[TrainingSpec, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return the spec as plain data."""
        return dataclasses.asdict(self)


def default_networks(**sizes: Any) -> tuple[NetworkSpec, ...]:
    """Return the networks of the headline table: plain, gated, and biased to keep."""
    return tuple(NetworkSpec(cell, init, **sizes) for cell, init in DEFAULT_NETWORKS)


def read_spec(path: Path) -> Spec:
    """Read a study from a file; paths in it are relative to its folder.

    Raises
    ------
    UsageError
        If it cannot be read, is not TOML, or asks for something that cannot be measured. The
        message names the key and the line.
    """
    try:
        text = read_text(path)
    except OSError as error:
        raise UsageError(f"the spec {path} cannot be read: {error.strerror}") from error
    except InputError as error:
        raise UsageError(shorten(f"the spec {path} {error}")) from error
    return parse_spec(text, path.name, path.parent)


def parse_spec(text: str, name: str = "the spec", folder: Path = Path()) -> Spec:
    """Parse a study from the text of a TOML file.

    Parameters
    ----------
    text
        TOML 1.0.
    name
        Name of the file, for errors.
    folder
        Folder that paths in it are relative to.

    Raises
    ------
    UsageError
        See :func:`read_spec`.
    """
    try:
        content = parse_toml(text)
    except InputError as error:
        raise UsageError(shorten(f"{name} {error}")) from error
    return as_spec(content, name, folder, text)


def as_spec(
    content: Mapping[str, Any], name: str = "the spec", folder: Path = Path(), text: str = ""
) -> Spec:
    """Build a study from the values that a TOML file would have.

    Parameters
    ----------
    content
        Values, as :func:`gatecheck._util.documents.parse_toml` returns them.
    name, folder
        See :func:`parse_spec`.
    text
        Text that it was read from, for line numbers in errors.

    Raises
    ------
    UsageError
        See :func:`read_spec`.
    """
    reader = _SpecReader(text, name, folder)
    top = reader.table("", content, ())
    shared: dict[str, Any] = {
        k: top.pop(k) for k in ("hidden", "inputs", "input_std", "data") if k in top
    }
    networks: list[NetworkSpec] = []
    for k, entry in enumerate(reader.entries(content, "network")):
        at = ("network", k)
        networks += reader.networks(shared | reader.table("network", entry, at), entry, at)
    if "network" not in content:
        networks += reader.networks(shared, {}, ())
    measure = reader.table("measure", reader.section(content, "measure"), ("measure",))
    training = [
        TrainingSpec(**choice)
        for k, entry in enumerate(reader.entries(content, "training"))
        for choice in reader.combinations(
            reader.training(reader.table("training", entry, ("training", k)), ("training", k)),
            ("training", k),
        )
    ]
    spec = Spec(
        networks=tuple(dict.fromkeys(networks)),
        measure=MeasureSpec(**measure),
        training=tuple(training),
        **top,
    )
    jobs = len(spec.networks) * spec.seeds + sum(entry.seeds for entry in spec.training)
    if jobs > MAX_JOBS:
        raise UsageError(
            f"{name}: its networks times their seeds are {jobs:,}, "
            f"but a study has {MAX_JOBS:,} at most"
        )
    return spec


class _SpecReader:
    """Reader of one spec, with errors that point into its text."""

    def __init__(self, text: str, name: str, folder: Path) -> None:
        self.lines = text.splitlines(keepends=True)
        self.name = name
        self.folder = folder
        self.count = 0

    def error(self, at: tuple[str | int, ...], problem: str) -> UsageError:
        dotted = "".join(
            f"[{part + 1}]" if isinstance(part, int) else f".{part}" for part in at
        ).lstrip(".")
        line = self.line_number(at)
        return UsageError(
            shorten(f"{self.name}{f', line {line}' if line else ''}: {dotted} {problem}")
        )

    def line_number(self, at: tuple[str | int, ...]) -> int | None:
        """Return the line on which the value at a path ends.

        tomllib keeps no positions: it is the first line up to which the text parses and has it.
        """
        before, line, parsed = 0, len(self.lines), 0
        while line - before > 1:
            middle = (before + line) // 2
            found = None  # within a value of several lines the text does not parse
            for n in range(middle, before, -1):
                parsed += sum(map(len, self.lines[:n]))
                if parsed > MAX_PARSED:
                    return None
                found = self._find(n, at)
                if found is not None:
                    break
            before, line = (before, n) if found else (middle, line)
        return line or None

    def _find(self, n: int, at: tuple[str | int, ...]) -> bool | None:
        """Return whether the first lines have a value at a path; None if not TOML."""
        try:
            value: Any = tomllib.loads("".join(self.lines[:n]))
        except ValueError:
            return None
        try:
            for part in at:
                value = value[part]
        except (LookupError, TypeError):
            return False
        return True

    def entries(self, content: Mapping[str, Any], key: str) -> Sequence[Mapping[str, Any]]:
        value = content.get(key, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self.error((key,), f"should be tables, each under [[{key}]]")
        return value

    def section(self, content: Mapping[str, Any], key: str) -> Mapping[str, Any]:
        value = content.get(key, {})
        if not isinstance(value, dict):
            raise self.error((key,), f"should be a table, under [{key}]")
        return value

    def table(
        self, table_name: str, content: Mapping[str, Any], at: tuple[str | int, ...]
    ) -> dict[str, Any]:
        """Return the checked values of a table; a list where a key may have several."""
        keys = KEYS[table_name]
        sections = set(KEYS) if table_name == "" else set()
        values = {}
        for name, value in content.items():
            if name in sections:
                continue
            if name not in keys:
                near = difflib.get_close_matches(name, [*keys, *sections], 1)
                hint = f" (did you mean {near[0]}?)" if near else ""
                raise self.error((*at, name), f"is not a key{hint}; known are {', '.join(keys)}")
            values[name] = self.value(keys[name], value, (*at, name))
        return values

    def value(self, key: Key, value: Any, at: tuple[str | int, ...]) -> Any:
        if key.allows_list and isinstance(value, list):
            if not value:
                raise self.error(at, "is an empty list, so there is nothing to measure")
            return tuple(self.value(key._replace(allows_list=False), entry, at) for entry in value)
        number = key.kind is float and type(value) is int
        if type(value) is not key.kind and not number:
            several = ", or a list of such" if key.allows_list else ""
            raise self.error(at, f"is {value!r}, but should be {_TYPE_NAMES[key.kind]}{several}")
        if key.kind in (int, float) and not key.least <= value <= key.most:
            wanted = (
                f"at least {key.least:g}" if not value >= key.least else f"at most {key.most:g}"
            )
            raise self.error(at, f"is {describe_argument(value)}, but should be {wanted}")
        if key.choices is not None and value not in key.choices:
            raise self.error(at, f"is {value!r}, but should be one of {', '.join(key.choices)}")
        try:
            if key.check is not None:
                key.check(value)
        except UsageError as error:
            raise self.error(at, f"cannot be {value!r}: {error}") from error
        return str(self.folder / value) if key.is_path else value

    def networks(
        self, values: dict[str, Any], entry: Mapping[str, Any], at: tuple[str | int, ...]
    ) -> list[NetworkSpec]:
        if values.get("target") is not None:
            values["target"] = resolve_in_folder(values["target"], self.folder)
        if values.get("weights") is not None:
            for key in ("init", "hidden", "inputs"):
                if key in entry:
                    raise self.error((*at, key), "is given by the file of weights; leave it out")
            rest = {k: v for k, v in values.items() if k not in ("hidden", "inputs")}
            return [NetworkSpec(**choice) for choice in self.combinations(rest, at)]
        if "layer" in entry or ("convention" in entry and values.get("target") is None):
            key = "layer" if "layer" in entry else "convention"
            raise self.error((*at, key), "is about a file of weights, and none is given")
        if values.get("target") is not None:
            return [NetworkSpec(**choice) for choice in self.combinations(values, at)]
        if values.get("cell") is None and values.get("init") is None:
            sizes = {k: v for k, v in values.items() if k not in ("cell", "init")}
            return [
                network
                for choice in self.combinations(sizes, at, len(DEFAULT_NETWORKS))
                for network in default_networks(**choice)
            ]
        for key in ("cell", "init"):
            if values.get(key) is None:
                raise self.error(at, f"has no {key}; it needs a cell and an init, or weights")
        return [NetworkSpec(**choice) for choice in self.combinations(values, at)]

    def combinations(
        self, given: Mapping[str, Any], at: tuple[str | int, ...], times: int = 1
    ) -> list[dict[str, Any]]:
        """Return every combination of the values that are lists, each of so many networks."""
        lists = [value if isinstance(value, tuple) else (value,) for value in given.values()]
        self.count += times * math.prod(map(len, lists))
        if self.count > MAX_COMBINATIONS:
            raise self.error(
                at,
                f"makes {self.count:,} combinations of the lists, with those before it, "
                f"but a study has {MAX_COMBINATIONS:,} at most",
            )
        return [dict(zip(given, values, strict=True)) for values in product(*lists)]

    def training(self, values: dict[str, Any], at: tuple[str | int, ...]) -> dict[str, Any]:
        for key in ("cell", "task"):
            if key not in values:
                raise self.error(at, f"has no {key}")
        return values


_TYPE_NAMES = {int: "a whole number", float: "a number", str: "a string", bool: "true or false"}
