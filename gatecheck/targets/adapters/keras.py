"""Keras's recurrent layers and cells, with gradients from PyTorch or JAX."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import MissingExtraError
from gatecheck.targets.adapters.classes import class_cell

# Keras defaults to TensorFlow, which it does not install; the user's choice has priority.
os.environ.setdefault("KERAS_BACKEND", "torch" if find_spec("torch") else "jax")

try:
    import keras
except ImportError as error:
    raise MissingExtraError(
        'auditing keras.layers needs Keras and PyTorch or JAX: pip install "gatecheck[keras,torch]"'
    ) from error

Leaves = Mapping[str, Any]

_KINDS = (("SimpleRNN", "rnn"), ("GRU", "gru"), ("LSTM", "lstm"))
_CLASS_KINDS = {f"{name}{suffix}": kind for suffix in ("", "Cell") for name, kind in _KINDS}
_ALLOWED_VALUES = {
    "activation": None,
    "reset": None,
    "hard": (6,),
    "layers": None,
    "bidirectional": None,
}

TARGETS = [
    *(
        ("SimpleRNN", None),
        ("SimpleRNN", "rnn-relu"),
        ("GRU", None),
        ("GRU", "gru-before"),
        ("LSTM", None),
    ),
    *(("SimpleRNNCell", None), ("GRUCell", None), ("LSTMCell", None)),
]
"""Class names, each with its cell where a class can be more than one."""

EXPECTED_FAILURES = {
    "empty_sequence": "Keras cannot run T = 0 "
    "(keras/src/layers/rnn/rnn.py: RNN.call reads the first step, sequences[:, 0, :])"
}

ROUNDING_FAILURES = dict.fromkeys(
    ("lengths_within_budget", "rows_end_at_their_lengths", "full_lengths_change_nothing"),
    "under a mask Keras multiplies float64 in float32 (keras-team/keras#23704)",
)
"""Expected failures of a GRU and an LSTM on PyTorch.

Without a mask they have a separate loop, the only one that multiplies float64 in float64.
"""


def _pull_back_autograd(
    run: Callable[..., list[Any]],
) -> tuple[Callable[..., list[Any]], Callable[..., Leaves]]:
    import torch

    def pull_back(leaves: Leaves, mask: Any, cotangents: list[Any]) -> Leaves:
        for leaf in leaves.values():
            leaf.requires_grad_()
        grads = torch.autograd.grad(
            run(leaves, mask),
            list(leaves.values()),
            cotangents,
            materialize_grads=True,
            allow_unused=True,
        )
        return dict(zip(leaves, grads, strict=True))

    return run, pull_back


def _pull_back_vjp(
    run: Callable[..., list[Any]],
) -> tuple[Callable[..., list[Any]], Callable[..., Leaves]]:
    import jax

    def pull_back(leaves: Leaves, mask: Any, cotangents: list[Any]) -> Leaves:
        gradients: Leaves = jax.vjp(lambda at: run(at, mask), leaves)[1](cotangents)[0]
        return gradients

    return jax.jit(run), jax.jit(pull_back)


_PULL_BACKS = {"torch": _pull_back_autograd, "jax": _pull_back_vjp}
"""Functions by backend, from a function to its compiled form and its pullback."""

_BACKEND = keras.backend.backend()

if _BACKEND not in _PULL_BACKS:
    raise MissingExtraError(
        "auditing keras.layers needs Keras on PyTorch or JAX, "
        f"but it runs on {_BACKEND}: set KERAS_BACKEND=torch"
    )


@contextmanager
def _on_cpu() -> Iterator[None]:
    """Set where Keras computes: on the CPU, with PyTorch in one thread."""
    with ExitStack() as stack:
        stack.enter_context(keras.device("cpu"))
        if _BACKEND == "torch":
            from gatecheck.targets.adapters.torch import torch_settings

            stack.enter_context(torch_settings())
        yield


class KerasLayer:
    """A recurrent layer of ``keras.layers``, or a cell in ``keras.layers.RNN``.

    Layers of a network are applied in turn; cells of a stack in one direction are Keras's own
    ``StackedRNNCells``. Lengths are passed as a mask, with ``zero_output_for_mask``: by default
    Keras repeats the last output after the end of a row.

    Parameters
    ----------
    name
        Name of the class.
    cell
        The requested cell.
    **options
        Further arguments of the layer. With ``go_backwards`` its outputs are put in the order of x:
        Keras leaves them in the order of computation.
    """

    packages = ("keras", _BACKEND)
    few_shapes = _BACKEND == "jax"
    convention = "keras"

    def __init__(self, name: str, cell: Cell, **options: Any) -> None:
        self.name, self.cell = name, cell
        self.options = {"reverse": bool(options.get("go_backwards"))}
        # In other loops float64 is always rounded to float32, or crashes on JAX, so float64 is not
        # audited there. PyTorch itself takes the slope of a hard sigmoid from float32
        # (aten/src/ATen/native/cpu/Activation.cpp, hardsigmoid_backward_kernel: 1.0f / 6.0f).
        own_loop = (
            name in ("GRU", "LSTM")
            and cell.reset != "before"
            and not {"use_cudnn", "recurrent_dropout"} & options.keys()
        )
        precise = _BACKEND == "torch" and own_loop and not cell.hard
        self.dtypes = ("float32", "float64") if precise else ("float32",)
        self.expected_failures = EXPECTED_FAILURES | (ROUNDING_FAILURES if precise else {})
        self._layers = lru_cache(maxsize=256)(
            lambda *sizes: _make_layers(name, cell, *sizes, **options)
        )
        self._names = list(CONVENTIONS[self.convention].shapes(cell, 1, 1))
        self._forward, self._pull_back = _PULL_BACKS[_BACKEND](self._run)

    def _run(self, leaves: Leaves, mask: Any) -> list[Any]:
        """Return y, hT and perhaps cT: a pure function of arrays."""
        y, H = leaves["x"], leaves["recurrent_kernel"].shape[0]
        weights = iter([leaves[k] for k in self._names])
        tags, final = iter(self._initial_states(leaves, len(y), H)), []
        for layer in self._layers(y.shape[-1], H, keras.backend.standardize_dtype(y.dtype)):
            given = {} if mask is None else {"mask": mask}
            if any(f"{k}0" in leaves for k in self.cell.state):
                given["initial_state"] = _pack_states(layer, tags)
            own = [next(weights) for _ in layer.trainable_variables]
            (y, *states), _ = layer.stateless_call(
                own, [v.value for v in layer.non_trainable_variables], y, **given
            )
            y = keras.ops.flip(y, axis=1) if self.options["reverse"] else y
            final += keras.tree.flatten(states)
        n = len(self.cell.state)
        return [
            y,
            *(
                keras.ops.stack(final[k::n]) if len(self.cell.param_suffixes) > 1 else final[k]
                for k in range(n)
            ),
        ]

    def _initial_states(self, leaves: Leaves, B: int, H: int) -> list[list[Any]]:
        """Return the states of each layer and direction, with zeros for absent ones."""
        zeros = {
            k: keras.ops.zeros(self.cell.state_shape(k, B, H), leaves["x"].dtype)
            for k in self.cell.state
        }
        states = {k: leaves.get(f"{k}0", zeros[k]) for k in self.cell.state}
        if len(self.cell.param_suffixes) == 1:
            return [list(states.values())]
        return [[s[k] for s in states.values()] for k in range(len(self.cell.param_suffixes))]

    def _make_leaves(
        self, params: Mapping[str, Array], x: Array, h0: Array | None, c0: Array | None
    ) -> Leaves:
        # Built outside of JAX's trace, which would otherwise keep the layers.
        self._layers(x.shape[-1], params["recurrent_kernel"].shape[0], x.dtype.name)
        given = {**params, "x": x} | {
            f"{k}0": s for k, s in zip(self.cell.state, (h0, c0), strict=False) if s is not None
        }
        return {k: keras.ops.convert_to_tensor(v, v.dtype.name) for k, v in given.items()}

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        with _on_cpu():
            results = self._forward(self._make_leaves(params, x, h0, c0), _make_mask(x, lengths))
            # keras.ops.convert_to_numpy warns under NumPy 2
            return tuple(np.asarray(v) for v in results)

    def backward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None,
        dy: Array | None,
        dhT: Array | None,
        dcT: Array | None,
        lengths: Array | None = None,
    ) -> dict[str, Array]:
        """Return gradients by the backend, without those of absent states."""
        B, T, _ = x.shape
        H = params["recurrent_kernel"].shape[0]
        shapes = [
            (B, T, self.cell.directions * H),
            *(self.cell.state_shape(k, B, H) for k in self.cell.state),
        ]
        cotangents = [
            np.zeros(s, x.dtype) if d is None else d
            for s, d in zip(shapes, (dy, dhT, dcT), strict=False)
        ]
        with _on_cpu():
            directions = [keras.ops.convert_to_tensor(d, x.dtype.name) for d in cotangents]
            gradients = self._pull_back(
                self._make_leaves(params, x, h0, c0), _make_mask(x, lengths), directions
            )
            return {k: np.asarray(g) for k, g in gradients.items()}


def _make_mask(x: Array, lengths: Array | None) -> Any:
    return (
        None
        if lengths is None
        else keras.ops.convert_to_tensor(np.arange(x.shape[1]) < lengths[:, None], "bool")
    )


def _pack_states(layer: Any, tags: Iterator[list[Any]]) -> list[Any]:
    """Return the next states in the form that a layer takes.

    They are nested for a stack of cells, and concatenated for two directions.
    """
    if isinstance(layer, keras.layers.RNN) and isinstance(layer.cell, keras.layers.StackedRNNCells):
        return [next(tags) for _ in layer.cell.cells]
    return [s for _ in range(1 + isinstance(layer, keras.layers.Bidirectional)) for s in next(tags)]


def _make_layers(name: str, cell: Cell, D: int, H: int, dtype: str, **options: Any) -> list[Any]:
    """Return layers to be applied in turn, built for `D` inputs."""
    make, whole = (
        getattr(keras.layers, name),
        {"return_sequences": True, "return_state": True, "zero_output_for_mask": True},
    )
    inner = _layer_options(cell) | {"dtype": dtype}
    count = cell.layers
    if not name.endswith("Cell"):
        layers = [make(H, **inner, **whole, **options) for _ in range(count)]
    elif count > 1 and not cell.bidirectional:
        # A stack made by RNN would have the default dtype, and round float64 to it.
        stack = keras.layers.StackedRNNCells([make(H, **inner) for _ in range(count)], dtype=dtype)
        layers = [keras.layers.RNN(stack, dtype=dtype, **whole, **options)]
    else:
        layers = [
            keras.layers.RNN(make(H, **inner), dtype=dtype, **whole, **options)
            for _ in range(count)
        ]
    if cell.bidirectional:
        layers = [keras.layers.Bidirectional(layer, dtype=dtype) for layer in layers]
    for k, layer in enumerate(layers):
        layer.build((None, None, cell.directions * H if k else D))
    return layers


def _layer_options(cell: Cell) -> dict[str, Any]:
    if cell.kind == "rnn":
        return {"activation": cell.activation}
    reset = {"reset_after": cell.reset == "after"} if cell.kind == "gru" else {}
    return reset | {"recurrent_activation": "hard_sigmoid" if cell.hard else "sigmoid"}


def adapt(name: str, cell: str | None = None) -> KerasLayer:
    """Return a class of ``keras.layers``, by its name, as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    """
    return KerasLayer(name, class_cell("keras.layers", name, cell, _CLASS_KINDS, _ALLOWED_VALUES))
