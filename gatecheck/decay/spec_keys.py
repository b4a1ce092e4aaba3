"""Keys of a decay study as data: their values, meaning, and the commented example."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from gatecheck.cells import as_cell, require_plain_cell
from gatecheck.cells.initializers import initializer


class Key(NamedTuple):
    """One key of a spec.

    Attributes
    ----------
    kind
        Type of its value: int, float, str or bool.
    description
        Its meaning, with the unit.
    default
        Default value, or None.
    least, most
        Bounds of a number; beyond them no array can be made.
    allows_list
        True if a list is allowed; it stands for all combinations with the other lists of the table.
    choices
        Possible values, or None where they are too many to list.
    check
        Function that raises a UsageError for an impossible value.
    is_path
        True if it names a file, relative to the spec's folder.
    example
        Value in the example if there is no default.
    """

    kind: type
    description: str
    default: Any = None
    least: float = 0
    most: float = 1e9
    allows_list: bool = False
    choices: tuple[str, ...] | None = None
    check: Callable[[str], object] | None = None
    is_path: bool = False
    example: Any = None


MAX_SIZE = 1e5
"""Largest number of units, inputs or networks."""

_CELLS = "rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm"
_INITIALISERS = (
    "uniform (PyTorch's), glorot_orthogonal, unit_forget_bias, uniform_gate, chrono:TMAX"
)
_CELL = Key(
    str,
    f"A cell, or several: {_CELLS}.",
    allows_list=True,
    check=lambda name: require_plain_cell(as_cell(name), "decay measures"),
    example=["gru", "lstm"],
)
_INIT = Key(
    str,
    f"An initializer, or several: {_INITIALISERS}.",
    allows_list=True,
    check=initializer,
    example=["uniform", "chrono:1000"],
)
_HIDDEN = Key(int, "Hidden size H, or several.", 128, 1, MAX_SIZE, allows_list=True)
_INPUTS = Key(int, "Input size D of random inputs.", 16, 1, MAX_SIZE, allows_list=True)
_STD = Key(
    float,
    "Standard deviation of the random inputs, which are independent and normal.",
    1.0,
    allows_list=True,
)
_DATA = Key(
    str,
    "Your sequences instead of random inputs: .npy, .npz or .csv, (T, D) or (N, T, D).",
    is_path=True,
    example="x.npy",
)

KEYS: dict[str, dict[str, Key]] = {
    "": {
        "title": Key(str, "The title of the report.", "How far back gradients reach"),
        "seed": Key(
            int, "Seed of everything random; the same one gives the same report.", 0, most=2**64
        ),
        "seeds": Key(
            int,
            "Number of networks for each row, each with its own inputs.",
            5,
            1,
            MAX_SIZE,
        ),
        "steps": Key(
            int, "Length T of the sequences, which is the longest lag, in steps.", 4000, 2
        ),
        "lag": Key(
            int,
            "Number of steps that your task reaches back; the report says which networks do.",
            least=1,
            example=200,
        ),
        "hidden": _HIDDEN,
        "inputs": _INPUTS,
        "input_std": _STD,
        "data": _DATA,
    },
    "network": {
        "cell": _CELL,
        "init": _INIT,
        "hidden": _HIDDEN,
        "inputs": _INPUTS,
        "input_std": _STD,
        "weights": Key(
            str,
            "Trained weights instead of an initializer: "
            ".npz, .safetensors, .pt, .onnx, .keras, .h5.",
            is_path=True,
            example="w.pt",
        ),
        "layer": Key(
            str, "Layer of that file, where it holds several.", example="encoder.lstm layer 0"
        ),
        "convention": Key(
            str,
            "Convention of that file, or else of the target; see `gatecheck conventions`.",
            example="keras",
        ),
        "data": _DATA,
        "target": Key(
            str,
            "Target that runs it instead of our code, by its own backward; "
            "named as for `gatecheck audit`, and custom cells too.",
            example="my_gru.py:MyGRU",
        ),
    },
    "measure": {
        "paths": Key(
            bool,
            "Share of each path of the gradient: the kept state, the candidate, the gates.",
            True,
        ),
        "inputs": Key(bool, "Gradient of each input.", True),
        "gates": Key(bool, "Saturation and time constants of the gates.", True),
        "truncation": Key(
            bool,
            "Bias of the parameters' gradient when backpropagation is truncated after K steps.",
            True,
        ),
        "spectrum_steps": Key(
            int,
            "Number of steps over which to measure the Lyapunov spectrum; 0 for none "
            "(its cost grows with H³).",
            0,
        ),
    },
    "training": {
        "cell": _CELL,
        "task": Key(
            str,
            "Task to learn.",
            choices=("copy", "adding", "agreement"),
            allows_list=True,
            example="copy",
        ),
        "init": _INIT._replace(
            description=f"{_INIT.description} The default is what learns best: chrono with gates, "
            "glorot_orthogonal without."
        ),
        "lag": Key(int, "Number of steps that the task reaches back.", 50, 1, allows_list=True),
        "hidden": Key(int, "Hidden size H.", 32, 1, MAX_SIZE, allows_list=True),
        "updates": Key(
            int,
            "Most steps of the optimizer; training ends when the task is solved.",
            4000,
            1,
        ),
        "seeds": Key(int, "Number of networks to train.", 3, 1, MAX_SIZE),
    },
}

_HEADINGS = {
    "": "A study for `gatecheck decay SPEC.toml`. Commented values are the defaults, or examples "
    "where there is no default.",
    "network": "One table for each group of networks. Lists stand for every combination. "
    "Without any: the usual ones.",
    "measure": "Measurements in addition to the decay itself.",
    "training": "Networks to train, to compare trained with untrained ones. "
    "Without any, none is trained.",
}


def commented_spec() -> str:
    """Return a spec with every key, its meaning, and its default, commented out."""
    out: list[str] = []
    for table, keys in KEYS.items():
        out += _comment(_HEADINGS[table])
        if table:
            out.append(f"# [{table}]" if table == "measure" else f"# [[{table}]]")
        for name, key in keys.items():
            out += ["", *_comment(key.description)] if not table else _comment(key.description)
            out.append(
                f"# {name} = {json.dumps(key.default if key.default is not None else key.example)}"
            )
        out.append("")
    return "\n".join(out)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 116, initial_indent="## ", subsequent_indent="## ")
