"""Cases: concrete inputs of a cell, saved as ``.npz``."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gatecheck._util.arguments import (
    FLAG,
    MAPPING,
    PATH,
    TEXT,
    ArgumentKind,
    describe_argument,
    error_context,
    one_of,
    require_kinds,
)
from gatecheck._util.atomic_write import atomic_writer
from gatecheck._util.documents import parse_json
from gatecheck._util.npz import read_npz
from gatecheck._util.plain_files import Allowance, file_size, open_plain
from gatecheck._util.typing import Array
from gatecheck.cells import Cell, Sizes, as_cell
from gatecheck.cells.gate_blocks import block
from gatecheck.cells.validation import check_cotangents, check_inputs, check_lengths
from gatecheck.errors import CaseFileError, InputError, UsageError, first_line, shorten

SCHEMA = "gatecheck-case-1"

STATES = ("h0", "c0")
COTANGENTS = ("dy", "dhT", "dcT")


def optional_arrays(cell: Cell) -> list[str]:
    """Return the names of the arrays that may be absent from a case, meaning zero."""
    return [*(f"{k}0" for k in cell.state), "dy", *(f"d{k}T" for k in cell.state)]


_CELL = ArgumentKind("a Cell", lambda value: isinstance(value, Cell))


def _as_numbers(name: str, value: Any, dtype: np.dtype[Any] | None = None) -> Array:
    """Return an array of numbers, of that dtype if one is given."""
    if type(value) is np.ndarray and value.dtype.kind in "fiubc" and dtype in (None, value.dtype):
        return value
    try:
        array = np.asarray(value)
    except Exception as error:  # rows of different lengths, or an object's own __array__
        raise InputError(
            f"{name} is {describe_argument(value)}, but should be an array of numbers"
        ) from error
    if array.dtype.kind not in "fiubc" or (
        array.dtype.kind == "c" and dtype is not None and dtype.kind != "c"
    ):
        raise InputError(f"{name} is {describe_argument(value)}, but should be an array of numbers")
    with np.errstate(over="ignore", invalid="ignore"):
        return array if dtype is None else array.astype(dtype, copy=False)


def _as_read_only(array: Array) -> Array:
    """Return the array if it is read-only, as in another case, else a read-only copy.

    The caller's array stays writeable.
    """
    if array.flags.writeable or array.base is not None or not array.flags.c_contiguous:
        array = array.copy()
        array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Case:
    """One input of a cell: parameters, x, and perhaps states and cotangents.

    All have one dtype.

    Attributes
    ----------
    cell
        Its cell.
    arrays
        Canonical parameters, ``x``, and those of ``h0``, ``c0``, ``dy``, ``dhT``, ``dcT`` that are
        present; perhaps ``lengths``, which are int64. Read-only.
    origin
        Provenance of the case, for messages.
    """

    cell: Cell
    arrays: Mapping[str, Array]
    origin: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_kinds(vars(self), cell=_CELL, arrays=MAPPING, origin=MAPPING)
        known = {*self.cell.param_shapes(1, 1), "x", "lengths", *optional_arrays(self.cell)}
        if unknown := set(self.arrays) - known:
            raise InputError(
                f"a case of a {self.cell} has no arrays {', '.join(sorted(unknown))}; "
                f"it has {', '.join(sorted(known))}"
            )
        with error_context("arrays"):
            object.__setattr__(
                self,
                "arrays",
                {k: _as_read_only(_as_numbers(k, v)) for k, v in self.arrays.items()},
            )

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def get(self, name: str) -> Array | None:
        """Return the array of that name, or None if it is absent."""
        require_kinds({"name": name}, name=TEXT)
        return self.arrays.get(name)

    @property
    def params(self) -> dict[str, Array]:
        """Canonical parameters."""
        return {k: self.arrays[k] for k in self.cell.param_shapes(1, 1)}

    @property
    def inputs(self) -> list[str]:
        """Names of the arrays that a gradient may be taken with respect to.

        They are the parameters, x, and the initial states that are present.
        """
        return [k for k in self.arrays if k in self.cell.param_shapes(1, 1) or k in ("x", *STATES)]

    @property
    def cotangents(self) -> list[str]:
        """Names of the cotangents that are present."""
        return [k for k in COTANGENTS if k in self.arrays]

    @property
    def state_pairs(self) -> list[tuple[str, str]]:
        """Names of each state before the first step and after the last."""
        return [(f"{k}0", f"{k}T") for k in self.cell.state]

    @property
    def sizes(self) -> Sizes:
        """Sizes T, B, D, H."""
        T, B, D = self.arrays["x"].shape
        return Sizes(T, B, D, self.arrays["b"].shape[0] // len(self.cell.gates))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of every array but the lengths."""
        return self.arrays["x"].dtype

    def __reduce__(self) -> tuple[Any, ...]:
        # Rebuilt when unpickled, since NumPy unpickles read-only arrays as writeable.
        return Case, (self.cell, dict(self.arrays), dict(self.origin))

    @cached_property
    def key(self) -> str:
        """Digest of the content: equal cases have equal keys."""
        digest = hashlib.blake2b(self.cell.name.encode(), digest_size=16)
        for name, a in sorted(self.arrays.items()):
            digest.update(f"{name}{a.dtype}{a.shape}".encode())
            digest.update(a.tobytes())
        return digest.hexdigest()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Case) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)

    def replace(self, **arrays: Array | None) -> Case:
        """Return the same case with some arrays replaced; None removes one."""
        merged = {**self.arrays, **arrays}
        dtypes = {"lengths": np.dtype(np.int64)}
        return replace(
            self,
            arrays={
                k: _as_numbers(k, v, dtypes.get(k, self.dtype))
                for k, v in merged.items()
                if v is not None
            },
        )

    def with_arrays(self, arrays: Mapping[str, Array]) -> Case:
        """Return a case of the same cell and origin with these arrays and no others."""
        return replace(self, arrays=arrays)

    def with_gate(self, gate: str, bias: float | Array, *, weights: bool = True) -> Case:
        """Return the case with a gate's bias set, and zero weights unless `weights`.

        A bias of ±1000 makes a sigmoid exactly 1 or 0 in every dtype, whatever the weights.
        """
        require_kinds(
            {"gate": gate, "weights": weights}, gate=one_of(*self.cell.gates), weights=FLAG
        )
        new = {name: self.arrays[name].copy() for name in ("W", "U", "b")}
        part, value = block(self.cell, new["b"], gate), _as_numbers("bias", bias, self.dtype)
        if value.shape not in ((), part.shape):
            raise InputError(
                f"bias is {describe_argument(value)}, "
                f"but should be a number or an array of shape (H,) = {part.shape}"
            )
        part[...] = value
        if not weights:
            block(self.cell, new["W"], gate)[...] = 0
            block(self.cell, new["U"], gate)[...] = 0
        return self.replace(**new)

    def with_recurrence(self, factor: float) -> Case:
        """Return the case with U multiplied and W divided by a factor.

        Beyond ten or so the state may be chaotic, if it is not small.
        """
        scale = {"U": factor, "W": 1 / factor}
        return self.replace(**{k: v * scale[k[0]] for k, v in self.params.items() if k[0] in scale})

    def as_float64(self) -> dict[str, Array]:
        """Return the arrays in float64, except the lengths; the values are the same."""
        return {k: v if k == "lengths" else v.astype(np.float64) for k, v in self.arrays.items()}

    def __str__(self) -> str:
        T, B, D, H = self.sizes
        absent = [k for k in optional_arrays(self.cell) if k not in self.arrays]
        provenance = ", ".join(f"{k} {v}" for k, v in self.origin.items())
        lengths = f" lengths={self.arrays['lengths'].tolist()}" if "lengths" in self.arrays else ""
        missing = f", without {' '.join(absent)}" if absent else ""
        end = f" ({provenance})" if provenance else ""
        return f"{self.cell} {self.dtype} T={T} B={B} D={D} H={H}{lengths}{missing}{end}"

    # ---- files

    def save(self, path: str | Path, **about: Any) -> None:
        """Write the case and a header of `about` as an ``.npz`` without pickles.

        Raises
        ------
        OutputError
            If the file cannot be written.
        """
        require_kinds({"path": path}, path=PATH)
        for name, value in about.items():
            try:
                json.dumps(value)
            except (TypeError, ValueError, RecursionError) as error:
                raise UsageError(
                    f"{name} is {describe_argument(value)}, but should be a JSON value: {error}"
                ) from error
        header = json.dumps(
            {**about, "schema": SCHEMA, "cell": self.cell.name, "origin": dict(self.origin)}
        )
        with atomic_writer(path) as file:
            # its last keyword is a bool
            np.savez(file, __about__=np.array(header), **self.arrays)  # type: ignore[arg-type]

    @staticmethod
    def load(path: str | Path) -> tuple[Case, dict[str, Any]]:
        """Read a case from a file, and the header that it was saved with.

        Raises
        ------
        CaseFileError
            If the file is missing, corrupt, of another schema, or its arrays do not fit each other.
        """
        require_kinds({"path": path}, path=PATH)
        try:
            with open_plain(path) as file:
                arrays = read_npz(file, Allowance(file_size(file)))
            about = parse_json(str(arrays.pop("__about__")[()]), "its header")
            if about["schema"] != SCHEMA:
                schema = shorten(repr(about["schema"]))
                raise CaseFileError(
                    f"{path} has schema {schema}, but this version reads {SCHEMA!r}"
                )
            origin = dict(about.get("origin", {}))
            cell = as_cell(about["cell"])
            params = {k: arrays[k] for k in cell.param_shapes(1, 1)}
            unknown = set(arrays) - {*params, "x", "lengths", *STATES, *COTANGENTS}
            if unknown:
                raise CaseFileError(shorten(f"{path} holds unknown arrays {sorted(unknown)}"))
            x = arrays["x"]
            sizes = check_inputs(cell, params, x, *(arrays.get(k) for k in STATES))
            check_cotangents(cell, sizes, x.dtype, *(arrays.get(k) for k in COTANGENTS))
            if "lengths" in arrays:
                check_lengths(sizes, arrays["lengths"])
        except FileNotFoundError as error:
            raise CaseFileError(f"there is no file {path}") from error
        except CaseFileError:
            raise
        except OSError as error:
            raise CaseFileError(f"{path} cannot be read: {error.strerror or error}") from error
        # zipfile, zlib and NumPy raise many exceptions for a damaged file.
        except Exception as error:
            raise CaseFileError(
                f"{path} does not hold a gatecheck case: {shorten(first_line(error))}"
            ) from error
        return Case(cell, arrays, origin), about
