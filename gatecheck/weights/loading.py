"""Loader of one recurrent layer of a file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from gatecheck._util.text import list_names
from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import Convention, as_convention
from gatecheck.errors import ArchiveError, UsageError, WeightsFileError, shorten
from gatecheck.weights.files import read
from gatecheck.weights.layers import Layer
from gatecheck.weights.search import search_layers
from gatecheck.weights.stored import StoredArrays, normalize_name

MAX_LISTED = 8
"""Number of arrays or layers that a message names."""


def load(
    path: str | Path,
    *,
    cell: str | Cell | None = None,
    convention: str | Convention | None = None,
    layer: str | None = None,
) -> Layer:
    """Load a recurrent layer from a file of weights.

    Parameters
    ----------
    path
        See :func:`gatecheck.weights.files.read_arrays`.
    cell, convention
        The cell and convention, where the file leaves them open: a GRU without biases does not show
        where it resets, an RNN does not show its activation.
    layer
        The label or name of the layer, if there are several: ``encoder.lstm.l1.reverse``,
        ``encoder/lstm``.

    Raises
    ------
    UsageError
        If the cell, convention or layer is unknown, or there are several layers to choose from; the
        message lists them.
    WeightsFileError
        If the file cannot be read, holds no recurrent layer, or the layer holds NaN or infinity.
    MissingExtraError
        If the library that reads it is not installed.
    """
    if cell is not None:
        as_cell(cell)
    as_convention(convention)
    stored = read(path)
    try:
        found = search_layers(
            stored.arrays,
            cell=cell,
            convention=convention,
            metadata=stored.metadata,
            allowance=stored.allowance,
        )
    except ArchiveError as error:
        raise WeightsFileError(shorten(f"{path} cannot be used: {error}")) from error
    if not found.layers:
        qualifier = f" as a {cell}" * (
            cell is not None
        ) + f" in the convention {as_convention(convention).name}" * (convention is not None)
        raise WeightsFileError(
            f"{path} holds no recurrent layer that gatecheck can read{qualifier}: "
            f"{_describe_rejections(stored, found.rejections)}"
        )
    chosen = found.layers if layer is None else _select(layer, found.layers)
    if not chosen:
        reasons = "; ".join(
            found.rejections[:2]
            + [
                f"{k}: {v}"
                for k, v in stored.skipped.items()
                if normalize_name(k) == normalize_name(layer or "")
            ]
        )
        raise UsageError(
            f"{path} has no layer {layer}; it holds {list_names(found.layers, MAX_LISTED)}"
            f"{'; ' * bool(reasons)}{reasons}"
        )
    if len({one.label for one in chosen}) > 1:
        raise UsageError(f"{path} holds {list_names(chosen, MAX_LISTED)}; say --layer NAME")
    if len(chosen) > 1:
        readings = ", or ".join(f"a {one.cell} as in {one.convention}" for one in chosen)
        raise UsageError(
            f"the arrays of {chosen[0].label} in {path} are those of {readings}; "
            "say --cell or --convention"
        )
    for name, array in chosen[0].params.items():
        if bad := int(array.size - np.isfinite(array).sum()):
            raise WeightsFileError(
                f"{name} of {chosen[0].label} in {path} is NaN or infinite "
                f"in {bad} of {array.size} entries"
            )
    return chosen[0]


def _select(layer: str, layers: list[Layer]) -> list[Layer]:
    wanted = normalize_name(layer) or "."
    exact = [one for one in layers if one.label == wanted]
    return exact or [one for one in layers if one.name == normalize_name(layer)]


def _describe_rejections(stored: StoredArrays, rejections: list[str]) -> str:
    left_out = [f"{name} was left out: {why}" for name, why in stored.skipped.items()]
    if rejections or left_out:
        return shorten("; ".join([*rejections[:2], *left_out[:2]]))
    names = [f"{name} {array.shape}" for name, array in stored.arrays.items()]
    return (
        shorten(f"its arrays are {', '.join(names[:MAX_LISTED])}{' …' * (len(names) > MAX_LISTED)}")
        if names
        else "it holds no arrays"
    )
