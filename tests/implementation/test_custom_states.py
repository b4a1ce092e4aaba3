"""Custom cells that run over time are causal, and can be split into two parts."""

from __future__ import annotations

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.auditing.applicability import TEMPORAL_PROPERTIES
from gatecheck.errors import TargetError
from gatecheck.implementation import any_subject


class Diagonal:
    """h_t = a h_{t-1} + x_t w, y = tanh h, by rows.

    This is the form of RG-LRU and minGRU without their gates.
    """

    cell = "custom"

    def example(self, rng):
        return {
            "params": {"a": rng.uniform(0.3, 0.9, 4), "w": rng.normal(size=(3, 4))},
            "x": rng.normal(size=(6, 2, 3)),
            "h0": rng.normal(size=(2, 4)),
        }

    def states(self, params, x, h0):
        h, out = h0, []
        for x_t in x:
            h = params["a"] * h + x_t @ params["w"]
            out.append(h)
        return np.array(out)

    def forward(self, params, x, h0):
        h = self.states(params, x, h0)
        return np.tanh(h), h[-1].copy()

    def backward(self, params, x, h0, dy, dhT):
        h = self.states(params, x, h0)
        before = np.concatenate([h0[None], h[:-1]])
        grads = {
            "a": np.zeros_like(params["a"]),
            "w": np.zeros_like(params["w"]),
            "x": np.zeros_like(x),
        }
        dh = dhT.copy()
        for t in reversed(range(len(x))):
            dh = dh + dy[t] * (1 - np.tanh(h[t]) ** 2)
            grads["a"] += (dh * before[t]).sum(0)
            grads["w"] += x[t].T @ dh
            grads["x"][t] = dh @ params["w"].T
            dh = dh * params["a"]
        return grads | {"h0": dh}


class BatchFirst(Diagonal):
    """The same cell with x (B, T, D)."""

    def example(self, rng):
        given = super().example(rng)
        return given | {"x": given["x"].swapaxes(0, 1)}

    def forward(self, params, x, h0):
        y, hT = super().forward(params, x.swapaxes(0, 1), h0)
        return y.swapaxes(0, 1), hT

    def backward(self, params, x, h0, dy, dhT):
        got = super().backward(params, x.swapaxes(0, 1), h0, dy.swapaxes(0, 1), dhT)
        return got | {"x": got["x"].swapaxes(0, 1)}


class OneRow(Diagonal):
    """The same cell for one row: x (T, D), a state (H,)."""

    def example(self, rng):
        given = super().example(rng)
        return given | {"x": given["x"][:, 0], "h0": given["h0"][0]}

    def forward(self, params, x, h0):
        y, hT = super().forward(params, x[:, None], h0[None])
        return y[:, 0], hT[0]

    def backward(self, params, x, h0, dy, dhT):
        got = super().backward(params, x[:, None], h0[None], dy[:, None], dhT[None])
        return got | {"x": got["x"][:, 0], "h0": got["h0"][0]}


def outcomes(target):
    found = gk.audit(target, profile="quick", only=TEMPORAL_PROPERTIES)
    return {p.name: p.outcome for p in found.properties}, found


@pytest.mark.parametrize(("target", "axis"), [(Diagonal, 0), (BatchFirst, 1), (OneRow, 0)])
def test_correct_cells_pass_on_any_time_axis(target, axis):
    seen, found = outcomes(target())
    assert seen == dict.fromkeys(TEMPORAL_PROPERTIES, "passed"), found.findings
    assert f"its time axis is axis {axis} of x" in found.limitations
    assert gk.audit(target(), profile="quick").verdict == "pass"


class Ignores(Diagonal):
    def states(self, params, x, h0):
        return super().states(params, x, 0 * h0)


class Keeps(Diagonal):
    """A cell whose state goes on from the previous call."""

    kept = 0.0

    def forward(self, params, x, h0):
        y, hT = super().forward(params, x, h0 + self.kept)
        self.kept = 0.01 * hT
        return y, hT


class Foresees(Diagonal):
    def states(self, params, x, h0):
        return super().states(params, x + 0.01 * np.roll(x, -1, axis=0), h0)


class Backwards(Diagonal):
    def forward(self, params, x, h0):
        y, hT = super().forward(params, x, h0)
        return y[::-1].copy(), hT


class OtherRow(Diagonal):
    def forward(self, params, x, h0):
        y, hT = super().forward(params, x, h0)
        return y, hT[::-1].copy()


class Slightly(Diagonal):
    """A cell that loses 1e-4 of its state between calls."""

    def forward(self, params, x, h0):
        y, hT = super().forward(params, x, h0)
        return y, hT * (1 - 1e-4)


class LeaksBack(Diagonal):
    def backward(self, params, x, h0, dy, dhT):
        got = super().backward(params, x, h0, dy, dhT)
        got["x"][-1] += 1e-3 * dy[0] @ params["w"].T
        return got


@pytest.mark.parametrize(
    ("target", "name"),
    [
        (Ignores, "split_sequence_equals_whole_sequence"),
        (Keeps, "split_sequence_equals_whole_sequence"),
        (OtherRow, "split_sequence_equals_whole_sequence"),
        (Backwards, "split_sequence_equals_whole_sequence"),
        (Slightly, "split_sequence_equals_whole_sequence"),
        (Foresees, "outputs_are_causal"),
        (Backwards, "outputs_are_causal"),
        (LeaksBack, "gradients_are_causal"),
    ],
)
def test_faults_over_time_are_found(target, name):
    seen, _ = outcomes(target())
    assert seen[name] == "failed"


class Square(Diagonal):
    """A case with as many steps as rows, so that shapes do not determine the axis."""

    def example(self, rng):
        given = super().example(rng)
        return given | {"x": given["x"][:2]}


def test_ambiguous_time_axis_needs_a_declaration():
    seen, found = outcomes(Square())
    assert set(seen.values()) == {"skipped"}
    assert "time_axis says which axis is time" in found.properties[0].reason
    said = type("Said", (Square,), {"time_axis": 0})
    assert set(outcomes(said())[0].values()) == {"passed"}


@pytest.mark.parametrize(
    ("axis", "message"),
    [("T", "should be the number of an axis"), (2, "differ in length there")],
)
def test_impossible_time_axis_is_an_error(axis, message):
    with pytest.raises(TargetError, match=message):
        any_subject(type("Said", (Diagonal,), {"time_axis": axis}))
