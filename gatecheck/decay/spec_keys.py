"""The keys of a decay study, as data: what each may be, what it stands for, and the commented
example that they make.
"""

from __future__ import annotations

import json
import textwrap
from collections.abc import Callable
from typing import Any, NamedTuple

from gatecheck.cells import as_cell, without_options
from gatecheck.cells.initializers import initialiser


class Key(NamedTuple):
    """One key of a spec.

    Attributes
    ----------
    kind
        The type of its value: int, float, str or bool.
    says
        What it means, with its unit.
    default
        What holds without it; None where nothing does.
    least, most
        The least and the most that a number may be; beyond that no array can be made.
    many
        Whether a list stands for every combination with the other lists of its table.
    among
        The values that there are, or None where they are too many to list.
    check
        Raises a UsageError where there is no such value.
    path
        Whether it names a file, relative to the spec's folder.
    example
        What the example says where there is no default.
    """

    kind: type
    says: str
    default: Any = None
    least: float = 0
    most: float = 1e9
    many: bool = False
    among: tuple[str, ...] | None = None
    check: Callable[[str], object] | None = None
    path: bool = False
    example: Any = None


SIZE = 1e5
"""The most units, inputs or networks."""

_CELLS = "rnn, rnn-relu, rnn-sigmoid, gru, gru-before, lstm"
_INITIALISERS = (
    "uniform (PyTorch's), glorot_orthogonal, unit_forget_bias, uniform_gate, chrono:TMAX"
)
_CELL = Key(
    str,
    f"A cell, or several: {_CELLS}.",
    many=True,
    check=lambda name: without_options(as_cell(name), "decay measures"),
    example=["gru", "lstm"],
)
_INIT = Key(
    str,
    f"An initialiser, or several: {_INITIALISERS}.",
    many=True,
    check=initialiser,
    example=["uniform", "chrono:1000"],
)
_HIDDEN = Key(int, "Hidden size H, or several.", 128, 1, SIZE, many=True)
_INPUTS = Key(int, "Input size D of random inputs.", 16, 1, SIZE, many=True)
_STD = Key(
    float,
    "Standard deviation of the random inputs, which are independent and normal.",
    1.0,
    many=True,
)
_DATA = Key(
    str,
    "Sequences of yours instead of random inputs: .npy, .npz or .csv, (T, D) or (N, T, D).",
    path=True,
    example="x.npy",
)

KEYS: dict[str, dict[str, Key]] = {
    "": {
        "title": Key(str, "The title of the report.", "How far back gradients reach"),
        "seed": Key(
            int, "Of everything random; the same seed gives the same report.", 0, most=2**64
        ),
        "seeds": Key(
            int,
            "How many networks, each with inputs of its own, stand behind each row.",
            5,
            1,
            SIZE,
        ),
        "steps": Key(
            int, "Length T of the sequences, which is the longest lag, in steps.", 4000, 2
        ),
        "lag": Key(
            int,
            "How many steps back your task reaches; the report says which networks do.",
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
            "Trained weights instead of an initialiser: .npz, .safetensors, .pt, .onnx, .keras, .h5.",
            path=True,
            example="w.pt",
        ),
        "layer": Key(
            str, "Which layer of that file, where it holds several.", example="encoder.lstm layer 0"
        ),
        "convention": Key(
            str,
            "How that file, or else the target, spells the cell; see `gatecheck conventions`.",
            example="keras",
        ),
        "data": _DATA,
        "target": Key(
            str,
            "What runs it instead of our code, named as for `gatecheck audit`, a cell of its own too; by its own backward.",
            example="my_gru.py:MyGRU",
        ),
    },
    "measure": {
        "paths": Key(
            bool,
            "Which path carries the gradient: the state that is kept, the candidate, the gates.",
            True,
        ),
        "inputs": Key(bool, "The gradient of each input.", True),
        "gates": Key(bool, "Saturation and time constants of the gates.", True),
        "truncation": Key(
            bool,
            "What backpropagation cut after K steps leaves out of the gradient of the parameters.",
            True,
        ),
        "spectrum_steps": Key(
            int,
            "Over how many steps the Lyapunov spectrum is measured; 0 for none (its cost grows with H³).",
            0,
        ),
    },
    "training": {
        "cell": _CELL,
        "task": Key(
            str, "What it learns.", among=("copy", "adding", "agreement"), many=True, example="copy"
        ),
        "init": _INIT._replace(
            says=f"{_INIT.says} Without one what learns best: chrono with gates, glorot_orthogonal without."
        ),
        "lag": Key(int, "How many steps back the task reaches.", 50, 1, many=True),
        "hidden": Key(int, "Hidden size H.", 32, 1, SIZE, many=True),
        "updates": Key(
            int,
            "How many steps of the optimiser at most; it ends when the task is solved.",
            4000,
            1,
        ),
        "seeds": Key(int, "How many networks are trained.", 3, 1, SIZE),
    },
}

_HEADINGS = {
    "": "A study for `gatecheck decay SPEC.toml`. What stands commented is the default, or an example where there is none.",
    "network": "One table for each group of networks. Lists stand for every combination. Without any: the usual ones.",
    "measure": "What is measured beside the decay itself.",
    "training": "Networks to train, so that trained is held against untrained. Without any, none is trained.",
}


def commented_spec() -> str:
    """A spec that says everything and changes nothing: each key with its meaning, commented out at
    its default.
    """
    out: list[str] = []
    for table, keys in KEYS.items():
        out += _comment(_HEADINGS[table])
        if table:
            out.append(f"# [{table}]" if table == "measure" else f"# [[{table}]]")
        for name, key in keys.items():
            out += ["", *_comment(key.says)] if not table else _comment(key.says)
            out.append(
                f"# {name} = {json.dumps(key.default if key.default is not None else key.example)}"
            )
        out.append("")
    return "\n".join(out)


def _comment(text: str) -> list[str]:
    return textwrap.wrap(text, 116, initial_indent="## ", subsequent_indent="## ")
