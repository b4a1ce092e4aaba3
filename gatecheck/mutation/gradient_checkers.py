"""Gradient checkers of other packages, and ours, run on one function.

Each runs as its users run it: as published, at its defaults. It gets NumPy code in the way that its
package provides: PyTorch an autograd Function, JAX a custom_vjp around pure_callback.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.errors import MissingExtraError, UsageError, first_line
from gatecheck.oracles.gradcheck import gradcheck

Arrays = dict[str, Array]
CheckOutcome = Literal["caught", "passed", "refused"]


class Verdict(NamedTuple):
    """Outcome of a checker, and the reason."""

    outcome: CheckOutcome
    reason: str = ""


@dataclass(frozen=True)
class CheckedFunction:
    """Function of named arrays and its gradient, at a point.

    Attributes
    ----------
    inputs
        Parameters, x, h0, (c0), all of one dtype.
    fn
        ``fn(inputs)``, the outputs that are compared.
    vjp
        ``vjp(cotangents, inputs)``, a gradient for each input.
    """

    inputs: Arrays
    fn: Callable[[Arrays], Arrays]
    vjp: Callable[[Arrays, Arrays], Arrays]


def _import_package(name: str, extra: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise MissingExtraError(
            f'to run this checker {extra} must be installed: pip install "gatecheck[{extra}]"'
        ) from error


def _refusal(error: Exception) -> Verdict:
    return Verdict("refused", f"{type(error).__name__}: {first_line(error)}")


def torch_gradcheck(checked_function: CheckedFunction, *, fast_mode: bool = False) -> Verdict:
    """Run ``torch.autograd.gradcheck`` on an autograd Function, at its defaults.

    These are eps 1e-6, atol 1e-5 and rtol 1e-3.

    Raises
    ------
    MissingExtraError
        If PyTorch is not installed.
    """
    torch = _import_package("torch", "torch")
    # As an attribute of torch.autograd the function hides its module.
    published = _import_package("torch.autograd.gradcheck", "torch")
    names = list(checked_function.inputs)

    def arrays(tensors: Sequence[Any]) -> Arrays:
        return dict(zip(names, (t.detach().numpy() for t in tensors), strict=True))

    def forward(ctx: Any, *inputs: Any) -> Any:
        ctx.save_for_backward(*inputs)
        outputs = checked_function.fn(arrays(inputs))
        ctx.outputs = list(outputs)
        return tuple(torch.from_numpy(v) for v in outputs.values())

    def backward(ctx: Any, *cotangents: Any) -> Any:
        by_name = dict(zip(ctx.outputs, (d.detach().numpy() for d in cotangents), strict=True))
        gradients = checked_function.vjp(by_name, arrays(ctx.saved_tensors))
        return tuple(torch.from_numpy(gradients[k]) for k in names)

    function: Any = type(
        "Planted",
        (torch.autograd.Function,),
        {"forward": staticmethod(forward), "backward": staticmethod(backward)},
    )
    tensors = [torch.tensor(v, requires_grad=True) for v in checked_function.inputs.values()]
    try:
        published.gradcheck(function.apply, tensors, fast_mode=fast_mode)
    except published.GradcheckError as error:
        return Verdict("caught", first_line(error))
    except Exception as error:
        return _refusal(error)
    return Verdict("passed")


@contextmanager
def _x64(jax: Any, wanted: bool) -> Iterator[None]:
    previous = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", wanted)
    try:
        yield
    finally:
        jax.config.update("jax_enable_x64", previous)
        jax.clear_caches()  # code compiled for one function serves no other


def jax_check_grads(checked_function: CheckedFunction) -> Verdict:
    """Run ``jax.test_util.check_grads`` on a custom_vjp, at its defaults.

    The check is of first order, in reverse mode; the defaults are one direction and eps 1e-4. In
    float64, with 64 bits enabled, tolerances are 1e-5, in float32 2e-3, times the number of
    entries.

    Raises
    ------
    MissingExtraError
        If JAX is not installed.
    """
    jax = _import_package("jax", "jax")
    published = _import_package("jax.test_util", "jax")
    names, values = list(checked_function.inputs), tuple(checked_function.inputs.values())
    outputs = checked_function.fn(checked_function.inputs)

    def arrays(labels: Sequence[str], arrays_in_order: Sequence[Any]) -> Arrays:
        return dict(zip(labels, (np.asarray(v) for v in arrays_in_order), strict=True))

    def shapes_of(arrays_in_order: Sequence[Array]) -> tuple[Any, ...]:
        return tuple(jax.ShapeDtypeStruct(v.shape, v.dtype) for v in arrays_in_order)

    def run(*inputs: Any) -> tuple[Array, ...]:
        return tuple(checked_function.fn(arrays(names, inputs)).values())

    def pull(inputs: Any, cotangents: Any) -> tuple[Array, ...]:
        return tuple(
            checked_function.vjp(arrays(list(outputs), cotangents), arrays(names, inputs)).values()
        )

    def primal(*inputs: Any) -> Any:
        return tuple(jax.pure_callback(run, shapes_of(tuple(outputs.values())), *inputs))

    function = jax.custom_vjp(primal)
    function.defvjp(
        lambda *inputs: (primal(*inputs), inputs),
        lambda saved, d: tuple(jax.pure_callback(pull, shapes_of(values), saved, d)),
    )
    with _x64(jax, values[0].dtype == np.float64):
        try:
            published.check_grads(function, values, order=1, modes=("rev",))
        except AssertionError as error:
            return Verdict("caught", first_line(error))
        except Exception as error:
            return _refusal(error)
    return Verdict("passed")


def own_gradcheck(checked_function: CheckedFunction) -> Verdict:
    """Run :func:`gatecheck.gradcheck`; an inconclusive verdict is a refusal."""
    try:
        result = gradcheck(
            lambda **inputs: checked_function.fn(inputs),
            checked_function.inputs,
            lambda cotangents, **inputs: checked_function.vjp(cotangents, inputs),
        )
    except Exception as error:
        return _refusal(error)
    if result.verdict == "fail":
        return Verdict(
            "caught", str(result.failures[0]) if result.failures else "; ".join(result.notes)
        )
    return (
        Verdict("passed")
        if result.ok
        else Verdict("refused", f"inconclusive: {'; '.join(result.notes)}")
    )


class Checker(NamedTuple):
    """Gradient checker: its package, the dtype of its inputs, and its function."""

    package: str
    dtype: str
    run: Callable[[CheckedFunction], Verdict]


CHECKERS = {
    "torch gradcheck": Checker("torch", "float64", torch_gradcheck),
    "torch gradcheck, fast_mode": Checker(
        "torch", "float64", lambda layer: torch_gradcheck(layer, fast_mode=True)
    ),
    "jax check_grads": Checker("jax", "float64", jax_check_grads),
    "jax check_grads, float32": Checker("jax", "float32", jax_check_grads),
    "gatecheck.gradcheck": Checker("gatecheck", "float64", own_gradcheck),
}


def checkers_of(packages: Sequence[str]) -> list[str]:
    """Return the names of the checkers of these packages, and of ours.

    Raises
    ------
    UsageError
        If a package has no checker here.
    """
    known = list(dict.fromkeys(c.package for c in CHECKERS.values() if c.package != "gatecheck"))
    if unknown := [p for p in packages if p not in known]:
        raise UsageError(
            f"there is no checker of {', '.join(unknown)}; available: {', '.join(known)}"
        )
    return [name for name, c in CHECKERS.items() if c.package in (*packages, "gatecheck")]
