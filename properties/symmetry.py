"""Claims about symmetry: what a relabelling of units or inputs must do to outputs and to gradients,
and to nothing else.
"""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, split
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Evidence, agree, consistent, require
from gatecheck.checking.registry import claim
from gatecheck.implementation import Results, Subject


def _along_units(cell: Cell, arrays: dict[str, Array], matrix: Array) -> dict[str, Array]:
    """Arrays of a case, or its results, after the change of hidden coordinates h -> h M, M a signed
    permutation.

    A gate keeps its sign; so W and b of gates are permuted only, U of gates takes the sign on its
    rows.
    """
    unsigned = np.abs(matrix)
    out: dict[str, Array] = {}
    prefix = "d" if "dW" in arrays else ""
    params = {k: arrays[prefix + k] for k in ("W", "U", "b", "c_n", "p") if prefix + k in arrays}
    if params:
        blocks = {}
        for name, block in split(cell, params).items():
            part, _, gate = name.partition("_")
            # p meets a state, which changes sign
            columns = matrix if gate in ("n", "g") or part == "p" else unsigned
            blocks[name] = matrix.T @ block @ columns if part == "U" else block @ columns
        out |= {prefix + k: v for k, v in join(cell, blocks).items()}
    states = ("y", "hT", "cT", "h0", "c0", "dy", "dhT", "dcT", "dh0", "dc0")
    out |= {k: arrays[k] @ matrix for k in states if k in arrays}
    return out | {k: arrays[k] for k in ("x", "dx") if k in arrays}


def _compare(implementation: Subject, case: Case, matrix: Array) -> Evidence:
    matrix = matrix.astype(case.dtype)
    moved = case.having(**_along_units(case.cell, dict(case.arrays), matrix))
    got = implementation.run(case)
    return consistent(
        case.cell,
        implementation.run(moved),
        _along_units(case.cell, got, matrix),
        case_budget(moved),
    )


@claim()
def units_can_be_relabelled(implementation: Subject, case: Case) -> Evidence:
    """Hidden units have no order: permuting them permutes the outputs and every gradient in the
    same way.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    return _compare(implementation, case, np.eye(case.sizes.H)[rng.permutation(case.sizes.H)])


@claim(needs={"odd"})
def units_can_change_sign(implementation: Subject, case: Case) -> Evidence:
    """Where φ is odd, a unit and all its weights can change sign: h_j -> -h_j, its candidate's with
    it, its gates unchanged.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    signs = rng.choice([-1.0, 1.0], case.sizes.H)
    signs[0] = -1
    return _compare(implementation, case, np.diag(signs))


@claim()
def inputs_can_change_coordinates(implementation: Subject, case: Case) -> Evidence:
    """Inputs have no order and no unit: x -> x P with W -> P⁻¹ W changes no output, and dx -> dx
    P⁻ᵀ. Here P permutes and doubles.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    D = case.sizes.D
    P = (np.eye(D)[rng.permutation(D)] * 2).astype(case.dtype)
    inverse = P.T / 4
    moved = case.having(x=case["x"] @ P, W=inverse @ case["W"])
    expected = implementation.run(case)
    if "dx" in expected:
        expected |= {"dx": expected["dx"] @ inverse.T, "dW": P.T @ expected["dW"]}
    return consistent(case.cell, implementation.run(moved), expected, case_budget(moved))


@claim(needs={"backward"})
def input_and_weight_gradients_balance(implementation: Subject, case: Case) -> Evidence:
    """Σ_t x_tᵀ dx_t = dW Wᵀ: no output changes under x -> x P, W -> P⁻¹ W, so the gradient along it
    is zero.
    """
    budget = case_budget(case)
    got = implementation.backward(case)
    a = case.doubles()
    left = np.einsum("tbd,tbe->de", a["x"], got["dx"].astype(float))
    right = got["dW"].astype(float) @ a["W"].T
    tol_x, tol_w = budget.tolerance["dx"], budget.tolerance["dW"]
    tolerance = np.einsum("tbd,tbe->de", np.abs(a["x"]), tol_x) + tol_w @ np.abs(a["W"]).T
    return agree(case.cell, {"xᵀdx": left}, {"xᵀdx": right}, {"xᵀdx": tolerance})


@claim(varies="D")
def a_bias_is_a_constant_input(implementation: Subject, case: Case) -> Evidence:
    """A bias is the weight of an input that is always 1: outputs are the same, and so is its
    gradient.
    """
    T, B, D, _ = case.sizes
    constant = case.having(
        x=np.concatenate([case["x"], np.ones((T, B, 1))], axis=-1),
        W=np.concatenate([case["W"], case["b"][None]]),
        b=np.zeros_like(case["b"]),
    )
    got = implementation.run(constant)
    expected = implementation.run(case)
    if "dW" in got:
        got |= {"dW": got["dW"][:D], "dx": got["dx"][..., :D], "db": got["dW"][D]}
    return consistent(case.cell, got, expected, case_budget(case))


def _with_idle_unit(case: Case) -> Case:
    """One more unit, whose weights, biases, states and cotangents are zero."""

    def more(a: Array, *axes: int) -> Array:
        return np.pad(a, [(0, 1 if axis - a.ndim in axes else 0) for axis in range(a.ndim)])

    blocks = {
        name: more(b, -1, -2) if name[0] == "U" else more(b, -1)
        for name, b in split(case.cell, case.params).items()
    }
    states = {k: more(v, -1) for k, v in case.arrays.items() if k not in (*case.params, "x")}
    return case.having(**join(case.cell, blocks), **states)


@claim(varies="H")
def an_idle_unit_changes_nothing(implementation: Subject, case: Case) -> Evidence:
    """A unit whose weights are all zero is padding: the others' outputs and gradients are as
    without it.

    Where φ(0) = 0 its own output is exactly zero.
    """
    H = case.sizes.H
    got = implementation.run(_with_idle_unit(case))
    params = {k: got[f"d{k}"] for k in case.params if f"d{k}" in got}
    blocks = {
        name: b[..., :H, :H] if name[0] == "U" else b[..., :H]
        for name, b in split(case.cell, params).items()
    }
    others = {k: v[..., :H] for k, v in got.items() if k in ("y", "hT", "cT", "dh0", "dc0")} | {
        k: got[k] for k in ("dx",) if k in got
    }
    if blocks:
        others |= {f"d{k}": v for k, v in join(case.cell, blocks).items()}
    seen = consistent(case.cell, others, implementation.run(case), case_budget(case))
    if "odd" in case.cell.traits:
        seen += require(
            not got["y"][..., H:].any(),
            "the output of a unit without weights and biases is not zero",
        )
    return seen


def _doubled(case: Case) -> Case:
    """Every unit twice, each copy with half of the recurrent weights."""
    blocks = {}
    for name, block in split(case.cell, case.params).items():
        twice = np.concatenate([block, block], axis=-1)
        blocks[name] = np.concatenate([twice, twice], axis=0) / 2 if name[0] == "U" else twice
    states = {
        k: np.concatenate([v, v], axis=-1)
        for k, v in case.arrays.items()
        if k not in (*case.params, "x")
    }
    return case.having(**join(case.cell, blocks), **states)


@claim(varies="H")
def equal_units_stay_equal(implementation: Subject, case: Case) -> Evidence:
    """Units with equal weights have equal outputs and equal gradients, and half the recurrent
    weight each makes them one unit.
    """
    H = case.sizes.H
    doubled = _doubled(case)
    got = implementation.run(doubled)
    both: Results = {}
    for name, value in got.items():
        if name in ("y", "hT", "cT", "dh0", "dc0"):
            both[name] = np.concatenate([value[..., H:], value[..., :H]], axis=-1)
    seen = consistent(case.cell, got, both, case_budget(doubled))
    first: Results = {k: v[..., :H] for k, v in got.items() if k in ("y", "hT", "cT")}
    return seen + consistent(case.cell, first, implementation.forward(case), case_budget(case))
