"""Symmetries: relabeling units or inputs transforms the results in a known way."""

from __future__ import annotations

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case
from gatecheck.cells import Cell
from gatecheck.cells.gate_blocks import join, split
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, require
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


def _transform_units(cell: Cell, arrays: dict[str, Array], matrix: Array) -> dict[str, Array]:
    """Transform a case, or its results, by the hidden coordinates h -> h M.

    M is a signed permutation. A gate keeps its sign; so W and b of gates are permuted only, U of
    gates takes the sign on its rows.
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


def _check_transformed(implementation: Subject, case: Case, matrix: Array) -> Evidence:
    matrix = matrix.astype(case.dtype)
    transformed = case.replace(**_transform_units(case.cell, dict(case.arrays), matrix))
    results = implementation.run(case)
    return check_consistency(
        case.cell,
        implementation.run(transformed),
        _transform_units(case.cell, results, matrix),
        case_budget(transformed),
    )


@property_check()
def units_can_be_permuted(implementation: Subject, case: Case) -> Evidence:
    """Permuting hidden units permutes the outputs and every gradient in the same way.

    Hidden units have no order.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    return _check_transformed(
        implementation, case, np.eye(case.sizes.H)[rng.permutation(case.sizes.H)]
    )


@property_check(needs={"odd"})
def units_can_change_sign(implementation: Subject, case: Case) -> Evidence:
    """A unit and all its weights can change sign, if φ is odd.

    h_j -> -h_j, its candidate's with it, its gates unchanged.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    signs = rng.choice([-1.0, 1.0], case.sizes.H)
    signs[0] = -1
    return _check_transformed(implementation, case, np.diag(signs))


@property_check()
def inputs_can_change_coordinates(implementation: Subject, case: Case) -> Evidence:
    """Inputs can change coordinates: x -> x P with W -> P⁻¹ W changes no output.

    Inputs have no order and no unit. dx -> dx P⁻ᵀ. Here P permutes and doubles.
    """
    rng = np.random.default_rng(case.origin.get("seed", 0))
    D = case.sizes.D
    P = (np.eye(D)[rng.permutation(D)] * 2).astype(case.dtype)
    inverse = P.T / 4
    transformed = case.replace(x=case["x"] @ P, W=inverse @ case["W"])
    expected = implementation.run(case)
    if "dx" in expected:
        expected |= {"dx": expected["dx"] @ inverse.T, "dW": P.T @ expected["dW"]}
    return check_consistency(
        case.cell, implementation.run(transformed), expected, case_budget(transformed)
    )


@property_check(needs={"backward"})
def input_and_weight_gradients_balance(implementation: Subject, case: Case) -> Evidence:
    """The gradients of inputs and of their weights balance: Σ_t x_tᵀ dx_t = dW Wᵀ.

    No output changes under x -> x P, W -> P⁻¹ W, so the gradient along it is zero.
    """
    budget = case_budget(case)
    gradients = implementation.backward(case)
    a = case.as_float64()
    left = np.einsum("tbd,tbe->de", a["x"], gradients["dx"].astype(float))
    right = gradients["dW"].astype(float) @ a["W"].T
    tol_x, tol_w = budget.tolerance["dx"], budget.tolerance["dW"]
    tolerance = np.einsum("tbd,tbe->de", np.abs(a["x"]), tol_x) + tol_w @ np.abs(a["W"]).T
    return check_agreement(case.cell, {"xᵀdx": left}, {"xᵀdx": right}, {"xᵀdx": tolerance})


@property_check(varies="D")
def bias_is_constant_input(implementation: Subject, case: Case) -> Evidence:
    """A bias is the weight of an input that is always 1.

    Outputs are the same, and so is its gradient.
    """
    T, B, D, _ = case.sizes
    constant = case.replace(
        x=np.concatenate([case["x"], np.ones((T, B, 1))], axis=-1),
        W=np.concatenate([case["W"], case["b"][None]]),
        b=np.zeros_like(case["b"]),
    )
    results = implementation.run(constant)
    expected = implementation.run(case)
    if "dW" in results:
        results |= {"dW": results["dW"][:D], "dx": results["dx"][..., :D], "db": results["dW"][D]}
    return check_consistency(case.cell, results, expected, case_budget(case))


def _with_idle_unit(case: Case) -> Case:
    """Add a unit whose weights, biases, states and cotangents are zero."""

    def more(a: Array, *axes: int) -> Array:
        return np.pad(a, [(0, 1 if axis - a.ndim in axes else 0) for axis in range(a.ndim)])

    blocks = {
        name: more(b, -1, -2) if name[0] == "U" else more(b, -1)
        for name, b in split(case.cell, case.params).items()
    }
    states = {k: more(v, -1) for k, v in case.arrays.items() if k not in (*case.params, "x")}
    return case.replace(**join(case.cell, blocks), **states)


@property_check(varies="H")
def idle_unit_changes_nothing(implementation: Subject, case: Case) -> Evidence:
    """A unit whose weights are all zero is padding.

    The others' outputs and gradients are as without it. Where φ(0) = 0 its own output is exactly
    zero.
    """
    H = case.sizes.H
    results = implementation.run(_with_idle_unit(case))
    params = {k: results[f"d{k}"] for k in case.params if f"d{k}" in results}
    blocks = {
        name: b[..., :H, :H] if name[0] == "U" else b[..., :H]
        for name, b in split(case.cell, params).items()
    }
    others = {k: v[..., :H] for k, v in results.items() if k in ("y", "hT", "cT", "dh0", "dc0")} | {
        k: results[k] for k in ("dx",) if k in results
    }
    if blocks:
        others |= {f"d{k}": v for k, v in join(case.cell, blocks).items()}
    evidence = check_consistency(case.cell, others, implementation.run(case), case_budget(case))
    if "odd" in case.cell.traits:
        evidence += require(
            not results["y"][..., H:].any(),
            "the output of a unit without weights and biases is not zero",
        )
    return evidence


def _duplicate_units(case: Case) -> Case:
    """Duplicate every unit, each copy with half of the recurrent weights."""
    blocks = {}
    for name, block in split(case.cell, case.params).items():
        twice = np.concatenate([block, block], axis=-1)
        blocks[name] = np.concatenate([twice, twice], axis=0) / 2 if name[0] == "U" else twice
    states = {
        k: np.concatenate([v, v], axis=-1)
        for k, v in case.arrays.items()
        if k not in (*case.params, "x")
    }
    return case.replace(**join(case.cell, blocks), **states)


@property_check(varies="H")
def equal_units_stay_equal(implementation: Subject, case: Case) -> Evidence:
    """Units with equal weights have equal outputs and equal gradients.

    With half the recurrent weight each they make one unit.
    """
    H = case.sizes.H
    doubled = _duplicate_units(case)
    results = implementation.run(doubled)
    exchanged: Results = {}
    for name, value in results.items():
        if name in ("y", "hT", "cT", "dh0", "dc0"):
            exchanged[name] = np.concatenate([value[..., H:], value[..., :H]], axis=-1)
    evidence = check_consistency(case.cell, results, exchanged, case_budget(doubled))
    first: Results = {k: v[..., :H] for k, v in results.items() if k in ("y", "hT", "cT")}
    return evidence + check_consistency(
        case.cell, first, implementation.forward(case), case_budget(case)
    )
