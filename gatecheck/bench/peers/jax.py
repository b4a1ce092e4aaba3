"""JAX as a careful user writes it: a compiled scan over steps.

x with W is formed for all steps before, and the scan is compiled ahead of time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gatecheck.bench.job import Job, Results, cotangents, outputs, states
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.errors import MissingExtraError, UsageError

try:
    import jax
    import jax.numpy as jnp
except ImportError as error:
    raise MissingExtraError('pip install "gatecheck[jax]"') from error

PACKAGES = ("jax", "jaxlib")


def prepare(case: Case, work: str, threads: int) -> Job:
    """Prepare a point for JAX.

    Its threads are those that the process was started with.

    Raises
    ------
    UsageError
        If the cell has options that are not written here.
    """
    cell = case.cell
    if cell.name not in ("rnn", "rnn-relu", "rnn-sigmoid", "gru", "gru-before", "lstm"):
        raise UsageError(f"no scan is written here for a {cell}")
    if case.dtype == np.float64:
        jax.config.update("jax_enable_x64", True)

    def run(params: Mapping[str, Any], x: Any, initial: Any) -> Any:
        return _run(cell, params, x, initial)

    def pull_back(params: Mapping[str, Any], x: Any, initial: Any, directions: Any) -> Any:
        return jax.vjp(run, params, x, initial)[1](directions)

    inputs_and_cotangents = [dict(case.params), case["x"], states(case)]
    inputs_and_cotangents += [tuple(cotangents(case))] if work == "gradients" else []
    arguments = jax.device_put(inputs_and_cotangents)
    compiled = jax.jit(run if work == "forward" else pull_back).lower(*arguments).compile()

    def call() -> Any:
        return jax.block_until_ready(compiled(*arguments))

    def gradients() -> Results:
        params, x, initial = jax.tree.map(np.asarray, call())
        inputs = {"x": x} | {f"{k}0": d for k, d in zip(cell.state, initial, strict=True)}
        return {f"d{k}": v for k, v in (params | inputs).items()}

    return Job(
        call,
        gradients
        if work == "gradients"
        else lambda: outputs(case, [np.asarray(v) for v in call()]),
    )


def _run(cell: Cell, params: Mapping[str, Any], x: Any, initial: Any) -> Any:
    U, H = params["U"], initial[0].shape[-1]
    phi = {"tanh": jnp.tanh, "relu": jax.nn.relu, "sigmoid": jax.nn.sigmoid}[cell.activation]

    def rnn(carry: Any, a: Any) -> Any:
        h = phi(a + carry[0] @ U)
        return [h], h

    def gru_after(carry: Any, a: Any) -> Any:
        (h,) = carry
        s = h @ U
        r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * H] + s[:, : 2 * H]), 2, axis=1)
        n = jnp.tanh(a[:, 2 * H :] + r * (s[:, 2 * H :] + params["c_n"]))
        h = z * n + (1 - z) * h
        return [h], h

    def gru_before(carry: Any, a: Any) -> Any:
        (h,) = carry
        r, z = jnp.split(jax.nn.sigmoid(a[:, : 2 * H] + h @ U[:, : 2 * H]), 2, axis=1)
        n = jnp.tanh(a[:, 2 * H :] + (r * h) @ U[:, 2 * H :])
        h = z * n + (1 - z) * h
        return [h], h

    def lstm(carry: Any, a: Any) -> Any:
        h, c = carry
        i, f, g, o = jnp.split(a + h @ U, 4, axis=1)
        c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
        h = jax.nn.sigmoid(o) * jnp.tanh(c)
        return [h, c], h

    step = {"rnn": rnn, "gru": gru_after if cell.reset == "after" else gru_before, "lstm": lstm}[
        cell.kind
    ]
    final, y = jax.lax.scan(step, list(initial), x @ params["W"] + params["b"])
    return (y, *final)
