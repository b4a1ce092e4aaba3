"""Properties of networks of cells: directions, stacked layers, projections."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gatecheck._util.typing import Array
from gatecheck.cases import Case, draw
from gatecheck.cells import Cell, Sizes
from gatecheck.checking.budgets import case_budget, reference_results
from gatecheck.checking.evidence import Evidence, check_agreement, check_consistency, check_identity
from gatecheck.checking.registry import property_check
from gatecheck.implementation import Results, Subject


def _halves(a: Array) -> tuple[Array, Array]:
    """Return the shares of the forward and the reverse direction of the last axis."""
    P = a.shape[-1] // 2
    return a[..., :P], a[..., P:]


def _mirror_params(cell: Cell, arrays: Results, prefix: str) -> Results:
    """Return the parameters, or their gradients, with the directions exchanged.

    An upper layer's W has a block of rows for each direction.
    """
    out: Results = {}
    for tag in cell.param_suffixes:
        twin = tag.removesuffix(".reverse") if tag.endswith(".reverse") else f"{tag}.reverse"
        for name in cell.layer_cell.param_shapes(1, 1):
            a = arrays[f"{prefix}{name}{twin}"]
            if name == "W" and tag not in ("", ".reverse"):
                P = a.shape[-2] // 2
                a = np.concatenate([a[P:], a[:P]], axis=-2)
            out[f"{prefix}{name}{tag}"] = a
    return out


def _mirror(cell: Cell, arrays: Results) -> Results:
    """Return the arrays of a case, or its results, for the mirrored network.

    That network runs on the reversed sequence with its directions exchanged.
    """
    out: Results = {}
    for prefix in ("", "d"):
        if f"{prefix}W" in arrays:
            out |= _mirror_params(cell, arrays, prefix)
    swap = [k ^ 1 for k in range(len(cell.param_suffixes))]
    out |= {
        k: arrays[k][swap]
        for k in ("h0", "c0", "hT", "cT", "dh0", "dc0", "dhT", "dcT")
        if k in arrays
    }
    out |= {
        k: np.concatenate(_halves(arrays[k][::-1])[::-1], axis=-1)
        for k in ("y", "dy")
        if k in arrays
    }
    return out | {k: arrays[k][::-1] for k in ("x", "dx") if k in arrays}


@property_check(needs={"bidirectional"}, anywhere=True)
def directions_are_mirror_images(implementation: Subject, case: Case) -> Evidence:
    """Reversing the sequence and exchanging the directions mirrors the outputs.

    With the directions' weights and states exchanged, the outputs are reversed and their halves
    exchanged, and so is every gradient: the reverse direction has nothing that the other has not.
    """
    mirror = case.replace(**_mirror(case.cell, dict(case.arrays)))
    expected = _mirror(case.cell, implementation.run(case))
    return check_consistency(case.cell, implementation.run(mirror), expected, case_budget(mirror))


@property_check(needs={"bidirectional", "single_layer"}, anywhere=True)
def each_direction_is_causal(implementation: Subject, case: Case) -> Evidence:
    """The forward half of y_t depends on x_1 … x_t only, the reverse on x_t … x_T.

    Each half depends on its own direction's weights only.
    """
    t = case.sizes.T // 2
    late, early = case["x"].copy(), case["x"].copy()
    late[t:] = 1 - 2 * late[t:]
    early[:t] = 1 - 2 * early[:t]
    base = _halves(implementation.forward(case)["y"])
    past = _halves(implementation.forward(case.replace(x=late))["y"])[0][:t]
    future = _halves(implementation.forward(case.replace(x=early))["y"])[1][t:]
    evidence = check_identity(case.cell, {"y": past}, {"y": base[0][:t]}) + check_identity(
        case.cell, {"y": future}, {"y": base[1][t:]}
    )
    for k, tag in enumerate(case.cell.param_suffixes):
        others = {
            name: -0.5 * a
            for name, a in case.params.items()
            if name.endswith(".reverse") != tag.endswith(".reverse")
        }
        alone = _halves(implementation.forward(case.replace(**others))["y"])[k]
        evidence += check_identity(case.cell, {"y": alone}, {"y": base[k]})
    return evidence


@property_check(needs={"stacked"}, anywhere=True)
def lower_layers_do_not_depend_on_upper(implementation: Subject, case: Case) -> Evidence:
    """A layer's states do not depend on the weights and states of layers above it."""
    cell, k = case.cell, case.cell.directions
    top = cell.param_suffixes[-k:]
    changed = {
        f"{n}{tag}": -0.5 * case[f"{n}{tag}"]
        for tag in top
        for n in cell.layer_cell.param_shapes(1, 1)
    }
    for state in cell.state:
        changed[f"{state}0"] = np.concatenate(
            [case[f"{state}0"][:-k], -0.5 * case[f"{state}0"][-k:]]
        )
    before, after = implementation.forward(case), implementation.forward(case.replace(**changed))
    states = [f"{s}T" for s in cell.state]
    return check_identity(
        cell, {s: after[s][:-k] for s in states}, {s: before[s][:-k] for s in states}
    )


@property_check(needs={"stacked", "backward"}, anywhere=True)
def lower_states_give_upper_layers_no_gradient(implementation: Subject, case: Case) -> Evidence:
    """A loss on lower layers' final states gives the top layer gradients of zero.

    The gradients of the top layer's parameters and states are exactly zero.
    """
    cell, k = case.cell, case.cell.directions
    final = {
        f"d{s}T": np.concatenate([case[f"d{s}T"][:-k], 0 * case[f"d{s}T"][-k:]]) for s in cell.state
    }
    gradients = implementation.backward(case.replace(dy=None, **final))
    upper = {
        f"d{n}{tag}": gradients[f"d{n}{tag}"]
        for tag in cell.param_suffixes[-k:]
        for n in cell.layer_cell.param_shapes(1, 1)
    }
    upper |= {f"d{s}0": gradients[f"d{s}0"][-k:] for s in cell.state}
    return check_identity(cell, upper, {name: np.zeros_like(a) for name, a in upper.items()})


@property_check(needs={"projected", "plain_layer"}, reference=True, varies="H", anywhere=True)
def projection_of_identity_is_plain_cell(implementation: Subject, case: Case) -> Evidence:
    """A projection with R the identity changes nothing.

    h is o tanh(c), and dR is Σ_t v_tᵀ dh_t.
    """
    P, cell = case.cell.projection or 0, case.cell
    T, B, D, _ = case.sizes
    seed, regime = case.origin.get("seed", 0), case.origin.get("regime", "generic")
    same = draw(cell, Sizes(T, B, D, P), seed=seed, dtype=case.dtype.name, regime=regime).replace(
        R=np.eye(P)
    )
    plain = Case(
        replace(cell, projection=None),
        {k: v for k, v in same.arrays.items() if k != "R"},
        same.origin,
    )
    return check_agreement(
        cell, implementation.run(same), reference_results(plain), case_budget(same).tolerance
    )


@property_check(needs={"projected", "plain_layer"}, anywhere=True)
def projected_state_can_change_coordinates(implementation: Subject, case: Case) -> Evidence:
    """Only U reads a projected h, so h can change coordinates.

    R -> R M with U -> M⁻¹ U and h_0 -> h_0 M turns every h into h M, and leaves c as it is. The
    gradients turn with M⁻ᵀ. Here M permutes and doubles.
    """
    P = case["U"].shape[0]
    rng = np.random.default_rng(case.origin.get("seed", 0))
    M = (np.eye(P)[rng.permutation(P)] * 2).astype(case.dtype)
    inverse = M.T / 4
    inverse_t = inverse.T
    transformed = case.replace(
        R=case["R"] @ M,
        U=inverse @ case["U"],
        h0=case["h0"] @ M,
        dy=case["dy"] @ inverse_t,
        dhT=case["dhT"] @ inverse_t,
    )
    expected = implementation.run(case)
    expected |= {k: expected[k] @ M for k in ("y", "hT")}
    if "dU" in expected:
        expected |= {
            "dR": expected["dR"] @ inverse_t,
            "dU": M.T @ expected["dU"],
            "dh0": expected["dh0"] @ inverse_t,
        }
    return check_consistency(
        case.cell, implementation.run(transformed), expected, case_budget(transformed)
    )
