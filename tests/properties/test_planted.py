"""Each property holds on correct code, and fails on a fault that it must catch."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.auditing import explore
from gatecheck.auditing.audit import audit, claims
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, RNN, VARIANTS, Sizes
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import Edited
from gatecheck.faults.edits import misread, other, replaced, transposed
from gatecheck.faults.wrappers import wrapped
from gatecheck.reference.equations import sigmoid


class Complex(Edited):
    """A cell whose forward takes complex arrays."""

    dtypes = ("float32", "float64", "complex128")


class Tangent(Edited):
    """A cell with a tangent that ignores the direction of h0."""

    def tangent(self, params, x, h0, c0, dparams, dx, dh0, dc0):
        step = 1e-200
        plus = {k: v + 1j * step * dparams[k] for k, v in params.items()}
        c = None if c0 is None else c0 + 1j * step * dc0
        return tuple(
            v.imag / step for v in self.forward(plus, x + 1j * step * dx, h0.astype(complex), c)
        )


class Carrying(Edited):
    """A cell that comes with weights."""

    own_weights = draw(GRU(), Sizes(1, 1, 3, 2), seed=3, dtype="float64").params


def planted(label):
    return find(label).plant()


def _decayed(call, gradients):
    return gradients | {"W": gradients["W"] + call["params"]["W"] / 1024}


def _of_states_alone(call, gradients):
    return gradients if call["dy"] is not None else {k: 0 * v for k, v in gradients.items()}


GRU_, LSTM_, RNN_ = GRU(), LSTM(), RNN()

FAULTS = {
    "inputs_are_not_changed": planted("rnn: x scaled in place"),
    "repeated_calls_are_identical": planted("rnn: state kept although given"),
    "absent_arrays_are_zero": planted("gru: absent h0 as ones"),
    "empty_sequence": planted("lstm: no steps give a zero state"),
    "empty_batch": planted("lstm: no rows refused"),
    "forward_within_budget": Edited(LSTM_, misread("a_i", b_i=other("b_o"))),
    "own_weights_within_budget": Carrying(GRU_, misread("a_r", b_r=other("b_z"))),
    "gradients_within_budget": Edited(LSTM_, misread("dc_prev", f=1)),
    "long_sequences_within_budget": Edited(
        GRU_, misread("dh", dh_next=lambda s: s.dh_next * (s.t != 50))
    ),
    "gradients_match_finite_differences": Edited(GRU_, misread("dq", r=1)),
    "gradients_match_complex_step": Complex(LSTM_, misread("dc", m=other("c"))),
    "taylor_remainder_vanishes_in_order": Edited(RNN_, misread("da_n", h=other("a_n"))),
    "tangent_is_adjoint_of_backward": Tangent(LSTM_),
    "gates_in_unit_interval": Edited(LSTM_, replaced(f=lambda s: 1.25 * sigmoid(s.a_f) - 0.125)),
    "saturated_gates_reach_their_ends": Edited(
        GRU_, replaced(z=lambda s: np.exp(s.a_z) / (1 + np.exp(s.a_z)))
    ),
    "kept_and_new_share_one_whole": Edited(GRU_, replaced(h=lambda s: s.n + (1 - s.z) * s.h_prev)),
    "input_and_forget_gates_are_free": Edited(LSTM_, misread("c", i=lambda s: 1 - s.f)),
    "update_gate_of_ones_is_plain_rnn": Edited(GRU_, misread("h", z=lambda s: 1 - s.z)),
    "update_gate_of_zeros_copies": Edited(
        GRU_, replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "reset_gate_of_zeros_forgets": Edited(GRU_, misread("a_n", r=1)),
    "open_forget_gate_holds_memory": Edited(LSTM_, misread("c", f=lambda s: 1 - s.f)),
    "shut_output_gate_is_silent": Edited(LSTM_, misread("h", o=1)),
    "output_gate_folds_into_later_uses": Edited(
        LSTM_, replaced(h_prev=lambda s: s.before.m if s.before else s.h0)
    ),
    "zero_state_hides_recurrent_weights": planted("rnn: absent h0 as ones"),
    "outputs_are_causal": Edited(RNN_, misread("a_n", x=lambda s: s.all_x[min(s.t + 1, s.T - 1)])),
    "gradients_are_causal": Edited(RNN_, misread("dh", dy=lambda s: s.all_dy[max(s.t - 1, 0)])),
    "rows_are_independent": Edited(
        RNN_,
        misread(
            "h_prev", before=lambda s: s.before and s.before.reading(h=np.roll(s.before.h, 1, -2))
        ),
    ),
    "split_sequence_is_whole_sequence": Edited(
        LSTM_, misread("a_f", b_f=lambda s: s.b_f * (s.t == 0))
    ),
    "outputs_are_fresh_arrays": planted("rnn: outputs in a reused buffer"),
    "memory_layout_does_not_matter": planted("rnn: strides of x ignored"),
    "each_gate_has_its_own_weights": Edited(LSTM_, misread("a_f", b_f=other("b_o"))),
    "states_stay_in_their_hull": Edited(GRU_, misread("h", n=other("a_n"))),
    "zero_weights_have_a_closed_form": Edited(LSTM_, misread("a_i", b_i=lambda s: 2 * s.b_i)),
    "opposite_update_gates_sum_to_whole": Edited(
        GRU_, replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "reset_placement_is_free_where_open": Edited(GRU_, misread("q", U_n=transposed("U_n"))),
    "coupled_lstm_is_gru": Edited(LSTM_, replaced(g=lambda s: sigmoid(s.a_g))),
    "nan_stays_nan_in_its_row": planted("gru: NaN returned as zero"),
    "infinity_gives_its_limit": Edited(
        RNN_, replaced(h=lambda s: 1 - 2 / (np.exp(2 * s.a_n) + 1) + 0 * s.a_n)
    ),
    "units_can_be_relabelled": Edited(
        GRU_, misread("a_z", b_z=lambda s: s.b_z * np.arange(s.b_z.shape[-1], dtype=s.b_z.dtype))
    ),
    "units_can_change_sign": Edited(LSTM_, replaced(m=lambda s: np.maximum(s.c, 0))),
    "inputs_can_change_coordinates": Edited(
        LSTM_, misread("dx", W_i=lambda s: s.W_i[..., ::-1, :])
    ),
    "input_and_weight_gradients_balance": Edited(LSTM_, misread("dx", da_o=lambda s: 0 * s.da_o)),
    "a_bias_is_a_constant_input": Edited(RNN_, misread("db_n", da_n=lambda s: s.da_n / 2)),
    "activations_are_accurate": Edited(
        GRU_, replaced(r=lambda s: sigmoid(np.minimum(np.maximum(s.a_r, -8), 8)))
    ),
    "an_idle_unit_changes_nothing": planted("gru: last unit not updated"),
    "hard_gates_are_lines_between_their_ends": planted("gru-hard6: hard sigmoid of z 5 wide"),
    "clipped_memory_stays_within_its_clip": planted("lstm-clip0.5: c clipped for the output only"),
    "peepholes_of_zero_leave_the_plain_cell": Edited(
        LSTM(peepholes=True), misread("a_f", b_f=other("b_o"))
    ),
    "results_have_the_shapes_of_their_arrays": planted("gru: y squeezed"),
    "rows_can_be_permuted": planted("rnn: stale rows from the third on"),
    "gradients_are_linear_in_cotangents": planted("gru: gradients clipped by value"),
    "zero_cotangents_give_zero_gradients": wrapped(gradients=_decayed)(Edited(RNN_)),
    "last_output_is_final_state": wrapped(gradients=_of_states_alone)(Edited(LSTM_)),
    "second_derivatives_are_symmetric": Edited(GRU_, misread("dh_prev", z=other("r"))),
    "huge_inputs_saturate": Edited(
        LSTM_, replaced(g=lambda s: (np.exp(2 * s.a_g) - 1) / (np.exp(2 * s.a_g) + 1))
    ),
    "subnormal_inputs_are_numbers": Edited(
        RNN_, replaced(h=lambda s: s.a_n / np.sqrt(s.a_n**2) * np.tanh(np.sqrt(s.a_n**2)))
    ),
    "reset_placement_is_free_where_diagonal": Edited(GRU_, misread("a_n", r=1)),
    "one_step_has_a_closed_form": Edited(LSTM(peepholes=True), misread("a_o", c=other("c_prev"))),
    "lengths_within_budget": planted("gru: lengths: y goes on past the end"),
    "rows_end_at_their_lengths": planted("lstm: lengths: c not held"),
    "padding_is_not_seen": planted("rnn: lengths: dy of the padding read"),
    "full_lengths_change_nothing": planted("rnn: lengths: one too short"),
    "directions_are_mirror_images": planted("rnn-bidirectional: reverse half one step late"),
    "halves_see_past_and_future": planted("lstm-bidirectional: reverse direction runs forwards"),
    "lower_layers_know_nothing_of_upper": planted(
        "gru-layers2: final state of the last layer for all"
    ),
    "lower_states_give_upper_layers_no_gradient": planted(
        "lstm-layers2: dh0 of the layers in the opposite order"
    ),
    "projection_of_identity_is_plain_cell": planted("lstm-proj3: R reversed in its rows"),
    "projected_state_can_change_coordinates": planted("lstm-proj3: tanh after the projection"),
    "equal_units_stay_equal": Edited(
        RNN_,
        misread("a_n", U_n=lambda s: s.U_n - s.U_n * np.eye(s.U_n.shape[-1], dtype=s.U_n.dtype)),
    ),
}
"""A fault for every property.

The bias of the forget gate at the first step only is apple/coremltools#309; a reset gate that is
never applied is GRU-D#2; a backward that is lost where only h_T and c_T enter the loss is
pytorch/pytorch#96416.
"""


CRASHES = {"empty_batch"}
"""Properties whose fault is an exception."""


def test_every_property_has_a_planted_fault():
    assert set(FAULTS) == {c.name for c in claims()}


@pytest.mark.parametrize("name", FAULTS)
def test_fails_on_its_fault(name):
    (result,) = audit(FAULTS[name], profile="quick", only=[name], diagnose=False).properties
    # In other cases a crash would mean that the fault itself is broken.
    assert result.outcome == ("crashed" if name in CRASHES else "failed"), result
    assert result.counterexample is not None


@pytest.mark.parametrize("cell", [*CELLS.values(), *VARIANTS.values()], ids=str)
def test_nothing_is_found_in_correct_code(cell, monkeypatch):
    # Cases a dtype: `gatecheck audit` tries six times as many.
    monkeypatch.setitem(explore.PROFILES, "quick", 2)
    result = audit(Edited(cell), profile="quick", seed=1)
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
