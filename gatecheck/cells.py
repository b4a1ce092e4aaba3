"""The cells: what each is made of, what arrays it takes, and how its parameters are initialised.

A :class:`Cell` is a specification (gates, options, traits, shapes). The mathematics is written twice and independently, in
:mod:`gatecheck.reference` and in :mod:`gatecheck.kernels`; neither validates anything, because :func:`check_inputs` does it once.

Canonical arrays: ``x (T, B, D)``, states ``(B, H)``, ``W (D, G*H)``, ``U (H, G*H)``, ``b (G*H,)`` with the column blocks in the
order of ``Cell.gates``; a GRU that resets after the product has one more bias, ``c_n (H,)``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from gatecheck.errors import InputError, UsageError

Array = NDArray[Any]
Params = Mapping[str, Array]

Activation = Literal["tanh", "relu", "sigmoid"]
Reset = Literal["after", "before"]

TRAITS = {
    "update_gate": "the state is a convex mix h' = z n + (1 - z) h of the candidate and the old state",
    "reset_gate": "a gate r decides how much of the old state the candidate sees",
    "cell_state": "a second state c carries the memory: c' = f c + i g, h' = o tanh(c')",
    "gated": "some terms are gates, sigmoids of an affine map of x and h",
    "bounded": "the output activation is bounded by one",
    "odd": "the output activation is odd",
    "analytic": "every activation has a complex extension, so a complex step is a derivative",
}


class Sizes(NamedTuple):
    """Steps, batch rows, input size and hidden size of one call."""

    T: int
    B: int
    D: int
    H: int


@dataclass(frozen=True)
class Cell:
    """A recurrent cell and its options.

    Parameters
    ----------
    kind
        ``"rnn"``, ``"gru"`` or ``"lstm"``.
    activation
        The RNN's output activation; a GRU's candidate and an LSTM always use tanh.
    reset
        Where a GRU applies its reset gate: ``"after"`` the product h U_n (then c_n exists) or ``"before"`` it.

    See Also
    --------
    RNN, GRU, LSTM : the usual ways to make one.
    """

    kind: Literal["rnn", "gru", "lstm"]
    activation: Activation = "tanh"
    reset: Reset | None = None

    @property
    def name(self) -> str:
        """The name by which commands know this cell, such as ``gru-before``."""
        if self.kind == "rnn" and self.activation != "tanh":
            return f"rnn-{self.activation}"
        return "gru-before" if self.reset == "before" else self.kind

    @property
    def gates(self) -> tuple[str, ...]:
        """The column blocks of W, U and b, in order: gates and the candidate."""
        return {"rnn": ("n",), "gru": ("r", "z", "n"), "lstm": ("i", "f", "g", "o")}[self.kind]

    @property
    def sigmoid_gates(self) -> tuple[str, ...]:
        """The blocks that are gates in the strict sense: sigmoids, with values between 0 and 1."""
        return tuple(k for k in self.gates if k not in "ng")

    @property
    def state(self) -> tuple[str, ...]:
        """The states carried from step to step: ``("h",)`` or ``("h", "c")``."""
        return ("h", "c") if self.kind == "lstm" else ("h",)

    @property
    def traits(self) -> frozenset[str]:
        """What holds of this cell, from :data:`TRAITS`; properties ask for traits, not for names."""
        has = {
            "update_gate": self.kind == "gru",
            "reset_gate": self.kind == "gru",
            "cell_state": self.kind == "lstm",
            "gated": self.kind != "rnn",
            "bounded": self.activation != "relu",
            "odd": self.activation == "tanh",
            "analytic": self.activation != "relu",
        }
        return frozenset(name for name, holds in has.items() if holds)

    def param_shapes(self, D: int, H: int) -> dict[str, tuple[int, ...]]:
        """Canonical parameter names and shapes for input size `D` and hidden size `H`."""
        G = len(self.gates)
        shapes: dict[str, tuple[int, ...]] = {"W": (D, G * H), "U": (H, G * H), "b": (G * H,)}
        if self.reset == "after":
            shapes["c_n"] = (H,)
        return shapes

    def __str__(self) -> str:
        return self.name


def RNN(activation: Activation = "tanh") -> Cell:
    """A plain (Elman) recurrent cell, h' = phi(x W + h U + b)."""
    if activation not in ("tanh", "relu", "sigmoid"):
        raise UsageError(f"activation is {activation!r}, but should be 'tanh', 'relu' or 'sigmoid'")
    return Cell("rnn", activation)


def GRU(reset: Reset = "after") -> Cell:
    """A gated recurrent unit (Cho et al. 2014) in which z = 1 takes the new value and z = 0 copies."""
    if reset not in ("after", "before"):
        raise UsageError(f"reset is {reset!r}, but should be 'after' or 'before'")
    return Cell("gru", reset=reset)


def LSTM() -> Cell:
    """A long short-term memory with a forget gate (Gers et al. 2000)."""
    return Cell("lstm")


CELLS = {cell.name: cell for cell in (RNN(), RNN("relu"), RNN("sigmoid"), GRU(), GRU("before"), LSTM())}


def as_cell(cell: str | Cell) -> Cell:
    """The cell of that name, or the cell itself.

    Raises
    ------
    UsageError
        If there is no such cell.
    """
    if isinstance(cell, Cell):
        return cell
    if not isinstance(cell, str) or cell not in CELLS:
        raise UsageError(f"there is no cell {cell!r}; the cells are {', '.join(CELLS)}")
    return CELLS[cell]


# ---- blocks


def block(cell: Cell, array: Array, gate: str) -> Array:
    """The view of `gate`'s columns in an array whose last axis holds the blocks of all gates."""
    H = array.shape[-1] // len(cell.gates)
    k = cell.gates.index(gate)
    return array[..., k * H : (k + 1) * H]


def split(cell: Cell, params: Params) -> dict[str, Array]:
    """Parameters by gate: ``W_i``, ``U_i``, ``b_i``, …; whatever has no blocks keeps its name."""
    out: dict[str, Array] = {}
    for name, array in params.items():
        if name in ("W", "U", "b"):
            out |= {f"{name}_{k}": block(cell, array, k) for k in cell.gates}
        else:
            out[name] = array
    return out


def join(cell: Cell, blocks: Mapping[str, Array]) -> dict[str, Array]:
    """The inverse of :func:`split`."""
    out = {name: np.concatenate([blocks[f"{name}_{k}"] for k in cell.gates], axis=-1) for name in ("W", "U", "b")}
    return out | ({"c_n": blocks["c_n"]} if cell.reset == "after" else {})


# ---- validation


def _describe(array: Any) -> str:
    return f"{array.dtype} array of shape {array.shape}" if isinstance(array, np.ndarray) else type(array).__name__


def _require(name: str, array: Any, shape: tuple[int, ...], meaning: str, dtype: np.dtype[Any]) -> None:
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} is a {_describe(array)}, but should be a NumPy array of shape {meaning} = {shape}")
    if array.shape != shape:
        raise InputError(f"{name} has shape {array.shape}, but should have shape {meaning} = {shape}")
    if array.dtype != dtype:
        raise InputError(f"{name} has dtype {array.dtype}, but should have dtype {dtype}, like x")


_MEANING = {"W": "(D, {G}*H)", "U": "(H, {G}*H)", "b": "({G}*H,)", "c_n": "(H,)"}


def check_inputs(
    cell: Cell,
    params: Params,
    x: Array,
    h0: Array | None = None,
    c0: Array | None = None,
    *,
    dtypes: Iterable[str] = ("float32", "float64"),
) -> Sizes:
    """Say whether these arrays fit the cell and each other.

    Parameters
    ----------
    cell
        The cell that they are for.
    params
        Canonical parameters; see :meth:`Cell.param_shapes`.
    x
        Inputs ``(T, B, D)``; T and B may be 0, D may not.
    h0, c0
        Initial states ``(B, H)``, or None for zeros; c0 only where the cell has a cell state.
    dtypes
        The dtypes that the caller computes in; all arrays must have the same one.

    Returns
    -------
    Sizes
        T, B, D, H.

    Raises
    ------
    InputError
        Naming the array, what it is and what it should be. Values are not looked at: NaN and infinity are legal.
    """
    allowed = tuple(dtypes)
    if not isinstance(x, np.ndarray) or x.ndim != 3:
        raise InputError(f"x is a {_describe(x)}, but should be a NumPy array of shape (T, B, D)")
    if x.dtype.name not in allowed or not x.dtype.isnative:
        raise InputError(f"x has dtype {x.dtype}, but should have dtype {' or '.join(allowed)}")
    T, B, D = x.shape
    if not isinstance(params, Mapping):
        raise InputError(f"params is a {_describe(params)}, but should be a mapping of names to arrays")
    expected = cell.param_shapes(1, 1)
    if set(params) != set(expected):
        raise InputError(f"params of a {cell} has the names {sorted(map(str, params))}, but should have {sorted(expected)}")
    U = params["U"]
    if not isinstance(U, np.ndarray) or U.ndim != 2:
        raise InputError(f"U is a {_describe(U)}, but should be a NumPy array of shape (H, {len(cell.gates)}*H)")
    H = U.shape[0]
    if D == 0 or H == 0:
        raise InputError(f"x has shape {x.shape} and U has shape {U.shape}, but D and H should be at least 1")
    for name, shape in cell.param_shapes(D, H).items():
        _require(name, params[name], shape, _MEANING[name].format(G=len(cell.gates)), x.dtype)
    for name, state in (("h0", h0), ("c0", c0)):
        if state is None:
            continue
        if name[0] not in cell.state:
            raise InputError(f"{name} was given, but a {cell} has no state {name[0]}")
        _require(name, state, (B, H), "(B, H)", x.dtype)
    return Sizes(T, B, D, H)


def check_cotangents(cell: Cell, sizes: Sizes, dtype: np.dtype[Any], dy: Array | None, dhT: Array | None, dcT: Array | None) -> None:
    """Say whether these cotangents fit outputs of these sizes; any of them may be None, which is zero.

    Raises
    ------
    InputError
        Naming the array, what it is and what it should be.
    """
    T, B, _, H = sizes
    if dy is not None:
        _require("dy", dy, (T, B, H), "(T, B, H)", dtype)
    if dhT is not None:
        _require("dhT", dhT, (B, H), "(B, H)", dtype)
    if dcT is not None:
        if "c" not in cell.state:
            raise InputError(f"dcT was given, but a {cell} has no state c")
        _require("dcT", dcT, (B, H), "(B, H)", dtype)


# ---- initialisers

Initialiser = Callable[[np.random.Generator, Cell, int, int], dict[str, Array]]


def uniform(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """PyTorch's default: every entry uniform in ±1/√H, and two such biases a gate.

    PyTorch keeps both biases; here they are one, their sum, but for the candidate of a reset-after GRU.
    """
    a = 1 / math.sqrt(H)
    draw = {name: rng.uniform(-a, a, shape) for name, shape in cell.param_shapes(D, H).items()}
    second = rng.uniform(-a, a, draw["b"].shape)
    if "c_n" in draw:
        block(cell, second, "n")[:] = 0
    draw["b"] += second
    return draw


def glorot_orthogonal(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """Glorot-uniform input blocks and an orthogonal recurrent block a gate; biases zero.

    Glorot & Bengio 2010, eq. 16; Saxe et al. 2014. Each gate's block is drawn on its own (Keras draws the fused matrices).
    """
    params = {name: np.zeros(shape) for name, shape in cell.param_shapes(D, H).items()}
    a = math.sqrt(6 / (D + H))
    for k in cell.gates:
        block(cell, params["W"], k)[:] = rng.uniform(-a, a, (D, H))
        q, r = np.linalg.qr(rng.standard_normal((H, H)))
        block(cell, params["U"], k)[:] = q * np.sign(np.diag(r))  # the signs make the draw uniform over all rotations
    return params


def _keep_bias(params: dict[str, Array], cell: Cell, bias: Array) -> dict[str, Array]:
    """Give the gate that keeps the old state this bias before its sigmoid, and the gate that writes the opposite one."""
    if "update_gate" in cell.traits:
        block(cell, params["b"], "z")[:] = -bias
    elif "cell_state" in cell.traits:
        block(cell, params["b"], "f")[:] = bias
        block(cell, params["b"], "i")[:] = -bias
    else:
        raise UsageError(f"a {cell} has no gate that keeps the old state, so this initialiser does not apply to it")
    return params


def unit_forget_bias(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """PyTorch's uniform with a bias of 1 towards keeping the old state (Jozefowicz et al. 2015): b_f = 1, or b_z = -1 in a GRU."""
    params = uniform(rng, cell, D, H)
    if "cell_state" in cell.traits:
        block(cell, params["b"], "f")[:] = 1
        return params
    return _keep_bias(params, cell, np.ones(H))


def chrono(Tmax: float) -> Initialiser:
    """Time constants uniform in 1 … Tmax - 1: b_f = log U(1, Tmax - 1), b_i = -b_f (Tallec & Ollivier 2018).

    Raises
    ------
    UsageError
        If Tmax is not greater than 2.
    """
    if not Tmax > 2 or not math.isfinite(Tmax):
        raise UsageError(f"Tmax is {Tmax!r}, but should be a number greater than 2")

    def initialise(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
        return _keep_bias(uniform(rng, cell, D, H), cell, np.log(rng.uniform(1, Tmax - 1, H)))

    return initialise


def uniform_gate(rng: np.random.Generator, cell: Cell, D: int, H: int) -> dict[str, Array]:
    """The keeping gate uniform in (0, 1) at zero input: b_f = -log(1/u - 1), b_i = -b_f (Gu et al. 2020)."""
    u = rng.uniform(1 / H, 1 - 1 / H, H) if H > 2 else rng.uniform(0.25, 0.75, H)
    return _keep_bias(uniform(rng, cell, D, H), cell, -np.log(1 / u - 1))


INITIALISERS: dict[str, Initialiser] = {
    "uniform": uniform,
    "glorot_orthogonal": glorot_orthogonal,
    "unit_forget_bias": unit_forget_bias,
    "uniform_gate": uniform_gate,
}


def initialiser(name: str) -> Initialiser:
    """The initialiser of that name; ``chrono:1000`` is :func:`chrono` with Tmax = 1000.

    Raises
    ------
    UsageError
        If there is no such initialiser.
    """
    kind, _, argument = name.partition(":")
    if kind == "chrono":
        try:
            return chrono(float(argument))
        except ValueError as error:
            raise UsageError(f"the initialiser {name!r} should be written chrono:TMAX with a TMAX above 2, such as chrono:1000") from error
    if name not in INITIALISERS:
        raise UsageError(f"there is no initialiser {name!r}; the initialisers are {', '.join(INITIALISERS)}, chrono:TMAX")
    return INITIALISERS[name]
