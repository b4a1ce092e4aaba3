"""A user's own ``torch.nn.Module`` as an implementation, with any parameter names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

import torch

from gatecheck._util.typing import Array
from gatecheck.cells import Cell, as_cell
from gatecheck.conventions import Convention
from gatecheck.conventions.shape_analysis import Axis, parse_axes
from gatecheck.errors import TargetError
from gatecheck.targets.adapters.torch import (
    CPU,
    TorchLayer,
    device_notes,
    supported_dtypes,
    torch_settings,
)

PROBE_SIZES = (2, 2, 3, 5)
"""T, B, D and H of the first call; T is B, since their order is not known yet."""


class TorchModule(TorchLayer):
    """A class of modules, made by ``make(D, H)``.

    It is called as ``module(x, h)`` or ``module(x, (h, c))``, and returns y and the final state, as
    PyTorch's own layers do. States are ``(1, B, H)`` or ``(B, H)``, whichever it takes.

    Parameters
    ----------
    make
        The class.
    cell
        The cell that it computes.
    convention
        The convention of its parameters and sequences; by default the audit infers it.
    device
        Device on which it computes.

    Raises
    ------
    UsageError
        If there is no device of this name.
    TargetError
        If it cannot be made or called like that, or there is no such device here.
    """

    convention: Any = None
    expected_failures = {}  # noqa: RUF012

    def __init__(
        self,
        make: Callable[..., Any],
        cell: Cell,
        convention: str | Convention | None = None,
        device: str = CPU,
    ) -> None:
        self.cell, self.convention, self.sizes, self.device = cell, convention, {}, device
        self.dtypes, self.notes = (
            supported_dtypes(device, ("float32", "float64")),
            device_notes(device),
        )
        self._build_module = lru_cache(maxsize=64)(
            lambda D, H, dtype: self._construct(make, D, H).to(device, dtype)
        )
        self._axes = parse_axes(self.shapes, make.__name__)
        self._has_layers = self._has_layer_axis(make.__name__)

    def shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of its parameters."""
        return {
            name: tuple(p.shape)
            for name, p in self._build_module(D, H, self._widest_dtype).named_parameters()
        }

    @property
    def _widest_dtype(self) -> Any:
        return getattr(torch, self.dtypes[-1])

    @staticmethod
    def _construct(make: Callable[..., Any], D: int, H: int) -> Any:
        try:
            return make(D, H)
        except Exception as error:
            name = make.__name__
            raise TargetError(
                f"{name}({D}, {H}) raised {type(error).__name__}: {error}; "
                f"it is constructed as {name}(input_size, hidden_size)"
            ) from error

    def _has_layer_axis(self, name: str) -> bool:
        """Return whether states have an axis of layers, as in PyTorch's own."""
        T, B, D, H = PROBE_SIZES
        options = {"dtype": self._widest_dtype, "device": self.device}
        module, x, errors = (
            self._build_module(D, H, self._widest_dtype),
            torch.zeros(T, B, D, **options),
            [],
        )
        for layered in (True, False):
            states = [
                torch.zeros((1, B, H) if layered else (B, H), **options) for _ in self.cell.state
            ]
            try:
                with torch.no_grad():
                    y, final = module(x, tuple(states) if len(states) == 2 else states[0])
                if (final[0] if len(states) == 2 else final).shape == states[0].shape and y.shape[
                    -1
                ] == H:
                    return layered
                errors.append("it returned other shapes")
            except Exception as error:
                errors.append(f"{type(error).__name__}: {error}")
        call = "module(x, (h, c))" if len(self.cell.state) == 2 else "module(x, h)"
        raise TargetError(
            f"{name} is called as {call} and should return y and the final state, "
            f"but with states (1, B, H): {errors[0]}; with states (B, H): {errors[1]}"
        )

    def _run(
        self, params: Mapping[str, Any], x: Any, initial: list[Any], lengths: Any = None
    ) -> tuple[Any, ...]:
        D = x.shape[-1]
        module = self._build_module(D, self._hidden_size(params, D), x.dtype)
        given = [s for s in initial if s is not None]
        state = None
        if given:
            states = [torch.zeros_like(given[0]) if s is None else s for s in initial]
            states = [s[None] for s in states] if self._has_layers else states
            state = tuple(states) if len(states) == 2 else states[0]
        y, final = torch.func.functional_call(
            module, dict(params), (x,) if state is None else (x, state)
        )
        finals = list(final) if isinstance(final, tuple) else [final]
        return (y, *(s[0] if self._has_layers else s for s in finals))

    def _hidden_size(self, params: Mapping[str, Any], D: int) -> int:
        """Return H, from the first axis that depends on it."""
        for name, array in params.items():
            for axis, n in zip(self._axes[name], array.shape, strict=True):
                if axis != Axis(axis.D, 0, axis.one):
                    return int((n - axis.D * D - axis.one) // axis.H)
        raise TargetError("no parameter depends on the hidden size")

    def forward(  # type: ignore[override]
        self, params: dict[str, Array], x: Array, h0: Array | None, c0: Array | None = None
    ) -> tuple[Array, ...]:
        """Return (y, hT) or (y, hT, cT)."""
        return super().forward(params, x, h0, c0)


def adapt(
    make: Callable[..., Any],
    cell: str | None = None,
    convention: str | None = None,
    device: str | None = None,
) -> TorchModule:
    """Return a class of modules as an implementation.

    Raises
    ------
    UsageError
        If there is no device of this name.
    TargetError
        If the cell is not declared, or the class cannot be made or called as :class:`TorchModule`
        says; if there is no such device here.
    """
    declared = cell or getattr(make, "cell", None)
    if declared is None:
        raise TargetError(
            f"{make.__name__} does not say which cell it is: "
            'set cell = "rnn", "gru" or "lstm", or give --cell'
        )
    with torch_settings():
        return TorchModule(
            make, as_cell(declared), convention or getattr(make, "convention", None), device or CPU
        )
