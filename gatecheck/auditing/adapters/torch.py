"""PyTorch's recurrent layers and cells, gradients through autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from gatecheck.cells import RNN, Array, Cell, as_cell
from gatecheck.errors import MissingExtraError, UsageError

try:
    import torch
except ImportError as error:
    raise MissingExtraError('auditing torch.nn needs PyTorch: pip install "gatecheck[torch]"') from error

_KIND = {"RNN": "rnn", "GRU": "gru", "LSTM": "lstm"}

TARGETS = [
    *(("RNN", None), ("RNN", "rnn-relu"), ("GRU", None), ("LSTM", None)),
    *(("RNNCell", None), ("RNNCell", "rnn-relu"), ("GRUCell", None), ("LSTMCell", None)),
]
"""Class names and, where a class can be more than one cell, which."""

REFUSALS = {"empty_sequence": "PyTorch refuses T = 0 (aten/src/ATen/native/RNN.cpp: Expected sequence length to be larger than 0 in RNN)"}


@contextmanager
def _one_thread() -> Iterator[None]:
    """Cases are small: on a busy machine a second thread costs ten times what it saves."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


class Layer:
    """A class of ``torch.nn`` as an implementation: ``RNN``, ``GRU``, ``LSTM`` or the ``Cell`` of one, stepped over the sequence.

    Parameters
    ----------
    name
        The class.
    cell
        Which cell it is to be.
    """

    packages = ("torch",)
    dtypes = ("float32", "float64", "complex128")

    def __init__(self, name: str, cell: Cell) -> None:
        self.stepped = name.endswith("Cell")
        self.cell = cell
        self.convention = "pytorch-cell" if self.stepped else "pytorch"
        self.expected_failures = {} if self.stepped else REFUSALS
        options = {"nonlinearity": cell.activation} if cell.kind == "rnn" else {}
        self._make: Callable[..., Any] = partial(getattr(torch.nn, name), **options)

    def _run(self, params: Mapping[str, Any], x: Any, initial: list[Any]) -> tuple[Any, ...]:
        H = next(iter(params.values())).shape[0] // len(self.cell.gates)
        module = self._make(x.shape[-1], H, dtype=x.dtype)
        # Given no state at all the module takes its own path to zero.
        absent = all(s is None for s in initial)
        states = [x.new_zeros(x.shape[1], H) if s is None else s for s in initial]
        if not self.stepped:
            packed = [s[None] for s in states]
            state = None if absent else tuple(packed) if len(packed) == 2 else packed[0]
            y, final = torch.func.functional_call(module, params, (x, state))
            return (y, *(s[0] for s in (final if isinstance(final, tuple) else (final,))))
        outputs = []
        given: list[Any] | None = None if absent else states
        for x_t in x:
            state = None if given is None else tuple(given) if len(given) == 2 else given[0]
            new = torch.func.functional_call(module, params, (x_t, state))
            given = list(new) if isinstance(new, tuple) else [new]
            outputs.append(given[0])
        y = torch.stack(outputs) if outputs else x.new_zeros(0, x.shape[1], H)
        return (y, *(given or states))

    def forward(self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None) -> tuple[Array, ...]:
        """(y, hT) or (y, hT, cT)."""
        with torch.no_grad(), _one_thread():
            got = self._run(_tensors(params), torch.from_numpy(x), [_tensor(s) for s in self._states(h0, c0)])
        return tuple(v.numpy() for v in got)

    def backward(
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None, dy: Array | None, dhT: Array | None, dcT: Array | None
    ) -> dict[str, Array | None]:
        """Gradients by autograd; of a state that is absent there is none."""
        inputs = _tensors(params) | {"x": torch.from_numpy(x)}
        inputs |= {f"{k}0": _tensor(s) for k, s in zip(self.cell.state, self._states(h0, c0), strict=True) if s is not None}
        for leaf in inputs.values():
            leaf.requires_grad_()
        with _one_thread():
            got = self._run({k: inputs[k] for k in params}, inputs["x"], [inputs.get(f"{k}0") for k in self.cell.state])
        cotangents = [dy, dhT, dcT][: len(got)]
        used = [(v, _tensor(d)) for v, d in zip(got, cotangents, strict=True) if d is not None and v.requires_grad]
        if not used:
            return {k: np.zeros_like(v.detach().numpy()) for k, v in inputs.items()}
        values, directions = zip(*used, strict=True)
        with _one_thread():
            grads = torch.autograd.grad(values, list(inputs.values()), directions, allow_unused=True)
        # None is autograd's zero.
        return {k: np.zeros(v.shape, x.dtype) if g is None else g.numpy() for (k, v), g in zip(inputs.items(), grads, strict=True)}

    def _states(self, h0: Array | None, c0: Array | None) -> list[Array | None]:
        return [h0, c0][: len(self.cell.state)]


def _tensor(a: Array | None) -> Any:
    return None if a is None else torch.from_numpy(a)


def _tensors(arrays: Mapping[str, Array]) -> dict[str, Any]:
    return {k: torch.from_numpy(v) for k, v in arrays.items()}


def adapt(name: str, cell: str | None = None) -> Layer:
    """The class of that name in ``torch.nn`` as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the cell that is asked for.
    """
    kind = _KIND.get(name.removesuffix("Cell"))
    if kind is None:
        known = ", ".join(dict.fromkeys(n for n, _ in TARGETS))
        raise UsageError(f"torch.nn:{name} is not a recurrent class that gatecheck knows; those are {known}")
    chosen = as_cell(cell or kind)
    if chosen.kind != kind or chosen.reset == "before" or chosen == RNN("sigmoid"):
        raise UsageError(f"torch.nn:{name} cannot be a {chosen}")
    return Layer(name, chosen)
