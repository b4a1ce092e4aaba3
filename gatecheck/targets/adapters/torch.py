"""PyTorch's recurrent layers and cells, with gradients by autograd."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cells import Cell
from gatecheck.conventions import as_convention
from gatecheck.errors import MissingExtraError, TargetError, UsageError, first_line
from gatecheck.targets.adapters.classes import class_cell

try:
    import torch
    from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence
except ImportError as error:
    raise MissingExtraError(
        'auditing torch.nn needs PyTorch: pip install "gatecheck[torch]"'
    ) from error

_CLASS_KINDS = {
    f"{name}{suffix}": name.lower() for suffix in ("", "Cell") for name in ("RNN", "GRU", "LSTM")
}

_LAYER_VALUES = {"activation": ("relu",), "projection": None, "layers": None, "bidirectional": None}

_CELL_VALUES = {"activation": ("relu",)}

TARGETS = [
    *(("RNN", None), ("RNN", "rnn-relu"), ("GRU", None), ("LSTM", None)),
    *(("RNNCell", None), ("RNNCell", "rnn-relu"), ("GRUCell", None), ("LSTMCell", None)),
]
"""Class names, each with its cell where a class can be more than one."""

EXPECTED_FAILURES = {
    "empty_sequence": "PyTorch refuses T = 0 (aten/src/ATen/native/RNN.cpp: "
    "Expected sequence length to be larger than 0 in RNN)"
}


CPU = "cpu"

_TF32_BACKENDS = (torch.backends.cuda.matmul, torch.backends.cudnn)
"""Settings that may round float32 to TF32's 10 bits on a GPU; cuDNN's by default."""


@contextmanager
def torch_settings() -> Iterator[None]:
    """Compute in one thread, in IEEE arithmetic as budgets assume, and quietly.

    Cases are small: on a busy machine a second thread costs ten times what it saves. Warnings about
    the choice of kernels are not useful here.
    """
    threads, before = torch.get_num_threads(), [backend.allow_tf32 for backend in _TF32_BACKENDS]
    torch.set_num_threads(1)
    for backend in _TF32_BACKENDS:
        backend.allow_tf32 = False
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", message="LSTM with projections is not supported with oneDNN"
            )
            warnings.filterwarnings("ignore", message="Complex modules are a new feature")
            warnings.filterwarnings(
                "ignore",
                message="RNN module weights are not part of single contiguous chunk of memory",
            )
            yield
    finally:
        torch.set_num_threads(threads)
        for backend, previous in zip(_TF32_BACKENDS, before, strict=True):
            backend.allow_tf32 = previous


def device_notes(device: str) -> tuple[str, ...]:
    """Return notes on computing on a device."""
    off = (
        ""
        if torch.device(device).type == CPU
        else ", with TF32 off: by default PyTorch may round to 10 bits there"
    )
    return () if device == CPU else (f"it was computed on {device}{off}",)


def supported_dtypes(device: str, candidates: Sequence[str]) -> tuple[str, ...]:
    """Return the dtypes in which PyTorch computes its recurrent classes on a device.

    Raises
    ------
    UsageError
        If there is no device of this name.
    TargetError
        If the device is not available here.
    """
    try:
        of_cpu = torch.device(device).type == CPU
    except RuntimeError as error:
        raise UsageError(f"PyTorch knows no device {device!r}: {first_line(error)}") from error
    # On other devices its fused cells take real numbers only (aten/src/ATen/native/cuda/RNN.cu:
    # AT_DISPATCH_FLOATING_TYPES_AND2).
    possible = [name for name in candidates if of_cpu or name != "complex128"]
    available, reason = [], ""
    for name in possible:
        try:
            torch.zeros(1, dtype=getattr(torch, name), device=device).cpu()
            available.append(name)
        except (
            Exception
        ) as error:  # of many kinds: without its drivers, without its kernels, without such numbers
            reason = first_line(error)
    if not available:
        raise TargetError(f"PyTorch cannot compute on {device!r} here: {reason}")
    return tuple(available)


class TorchLayer:
    """A layer of ``torch.nn`` as an implementation: ``RNN``, ``GRU`` or ``LSTM``.

    Lengths are passed as a packed sequence.

    Parameters
    ----------
    name
        Name of the class.
    cell
        The requested cell.
    device
        Device on which it computes.
    bias
        Option of the class.

    Raises
    ------
    UsageError, TargetError
        See :func:`supported_dtypes`.
    """

    packages = ("torch",)

    convention: Any = "pytorch"
    expected_failures = EXPECTED_FAILURES

    def __init__(self, name: str, cell: Cell, device: str = CPU, *, bias: bool = True) -> None:
        self.cell, self.device = cell, device
        self.dtypes = supported_dtypes(device, ("float32", "float64", "complex128"))
        self.notes = device_notes(device)
        # PyTorch requires a projection narrower than the cell (torch/nn/modules/rnn.py: proj_size
        # has to be smaller than hidden_size).
        self.sizes = {"H": cell.projection + 2} if cell.projection else {}
        self.convention = (
            self.convention if bias else as_convention(self.convention).drop_parts("b", "c")
        )
        # Making a module takes as long as calling it, and its own parameters are never used.
        self._make = lru_cache(maxsize=16)(
            partial(getattr(torch.nn, name), bias=bias, **self._layer_options())
        )

    def _layer_options(self) -> dict[str, Any]:
        options: dict[str, Any] = (
            {"nonlinearity": self.cell.activation} if self.cell.kind == "rnn" else {}
        )
        options |= {"proj_size": self.cell.projection} if self.cell.projection else {}
        return options | {"num_layers": self.cell.layers, "bidirectional": self.cell.bidirectional}

    def _run(
        self, params: Mapping[str, Any], x: Any, initial: list[Any], lengths: Any = None
    ) -> tuple[Any, ...]:
        module, states = self._module_and_states(params, x, initial)
        networks = len(self.cell.param_suffixes) > 1
        layered = states if networks else [s[None] for s in states]
        given = x if lengths is None else pack_padded_sequence(x, lengths, enforce_sorted=False)
        y, final = torch.func.functional_call(
            module, params, (given, _pack_states(layered, initial))
        )
        y = y if lengths is None else pad_packed_sequence(y, total_length=len(x))[0]
        return (
            y,
            *(s if networks else s[0] for s in (final if isinstance(final, tuple) else (final,))),
        )

    def _module_and_states(
        self, params: Mapping[str, Any], x: Any, initial: list[Any]
    ) -> tuple[Any, list[Any]]:
        """Return the module, and the initial states with zeros for absent ones."""
        H = next(iter(params.values())).shape[0] // len(self.cell.gates)
        zeros = (x.new_zeros(self.cell.state_shape(k, x.shape[1], H)) for k in self.cell.state)
        states = [zero if s is None else s for s, zero in zip(initial, zeros, strict=True)]
        return self._make(x.shape[-1], H, dtype=x.dtype, device=x.device), states

    def forward(
        self,
        params: dict[str, Array],
        x: Array,
        h0: Array | None,
        c0: Array | None = None,
        lengths: Array | None = None,
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        with torch.no_grad(), torch_settings():
            given = {k: self._to_tensor(v) for k, v in params.items()}
            results = self._run(
                given,
                self._to_tensor(x),
                [self._to_tensor(s) for s in self._states(h0, c0)],
                _to_lengths_tensor(lengths),
            )
            return tuple(v.cpu().numpy() for v in results)

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
    ) -> dict[str, Array | None]:
        """Return gradients by autograd, without those of absent states."""
        given = {**params, "x": x} | {
            f"{k}0": s for k, s in zip(self.cell.state, self._states(h0, c0), strict=True)
        }
        inputs = {k: self._to_tensor(v) for k, v in given.items() if v is not None}
        for leaf in inputs.values():
            leaf.requires_grad_()
        with torch_settings():
            initial = [inputs.get(f"{k}0") for k in self.cell.state]
            results = self._run(
                {k: inputs[k] for k in params}, inputs["x"], initial, _to_lengths_tensor(lengths)
            )
        cotangents = [dy, dhT, dcT][: len(results)]
        used = [
            (v, self._to_tensor(d))
            for v, d in zip(results, cotangents, strict=True)
            if d is not None and v.requires_grad
        ]
        if not used:
            return {k: np.zeros(v.shape, x.dtype) for k, v in inputs.items()}
        values, directions = zip(*used, strict=True)
        with torch_settings():
            grads = torch.autograd.grad(
                values, list(inputs.values()), directions, allow_unused=True
            )
        # Autograd returns None for zero.
        return {
            k: np.zeros(v.shape, x.dtype) if g is None else g.cpu().numpy()
            for (k, v), g in zip(inputs.items(), grads, strict=True)
        }

    def _states(self, h0: Array | None, c0: Array | None) -> list[Array | None]:
        return [h0, c0][: len(self.cell.state)]

    def _to_tensor(self, a: Array | None) -> Any:
        return None if a is None else torch.from_numpy(a).to(self.device)


class SteppedCell(TorchLayer):
    """A cell of ``torch.nn``, stepped over the sequence, without layers or lengths."""

    convention = "pytorch-cell"
    expected_failures = {}  # noqa: RUF012

    def _layer_options(self) -> dict[str, Any]:
        return {"nonlinearity": self.cell.activation} if self.cell.kind == "rnn" else {}

    def _run(
        self, params: Mapping[str, Any], x: Any, initial: list[Any], lengths: Any = None
    ) -> tuple[Any, ...]:
        module, states = self._module_and_states(params, x, initial)
        state, outputs = _pack_states(states, initial), []
        for x_t in x:
            state = torch.func.functional_call(module, params, (x_t, state))
            states = list(state) if isinstance(state, tuple) else [state]
            outputs.append(states[0])
        y = torch.stack(outputs) if outputs else x.new_zeros(0, *states[0].shape)
        return (y, *states)

    def forward(  # type: ignore[override]
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        return super().forward(params, x, h0, c0)


def _pack_states(states: list[Any], initial: list[Any]) -> Any:
    """Return the state as a module takes it; None if all initial states are absent."""
    if all(s is None for s in initial):
        return None
    return tuple(states) if len(states) == 2 else states[0]


def _to_lengths_tensor(lengths: Array | None) -> Any:
    # pack_padded_sequence requires lengths on the CPU.
    return None if lengths is None else torch.from_numpy(lengths)


def adapt(
    name: str, cell: str | None = None, *, device: str = CPU, bias: bool = True
) -> TorchLayer:
    """Return a class of ``torch.nn``, by its name, as an implementation.

    Raises
    ------
    UsageError
        If it is not a recurrent class, or cannot be the requested cell.
    TargetError
        If there is no such device here.
    """
    stepped = name.endswith("Cell")
    chosen = class_cell(
        "torch.nn", name, cell, _CLASS_KINDS, _CELL_VALUES if stepped else _LAYER_VALUES
    )
    return (SteppedCell if stepped else TorchLayer)(name, chosen, device, bias=bias)
