"""Each property holds on correct code, and fails on a fault that it must catch."""

from __future__ import annotations

import numpy as np
import pytest

from gatecheck.auditing import explore
from gatecheck.auditing.audit import audit
from gatecheck.auditing.selection import select_properties
from gatecheck.cases import draw
from gatecheck.cells import CELLS, GRU, LSTM, RNN, VARIANTS, Sizes
from gatecheck.faults.catalogue import find
from gatecheck.faults.edited_cell import EditedCell
from gatecheck.faults.edits import misread, other, replaced, transposed
from gatecheck.faults.wrappers import wrapper
from gatecheck.reference.equations import sigmoid


class Complex(EditedCell):
    """A cell whose forward takes complex arrays."""

    dtypes = ("float32", "float64", "complex128")


class Tangent(EditedCell):
    """A cell with a tangent that ignores the direction of h0."""

    def tangent(self, params, x, h0, c0, dparams, dx, dh0, dc0):
        step = 1e-200
        plus = {k: v + 1j * step * dparams[k] for k, v in params.items()}
        c = None if c0 is None else c0 + 1j * step * dc0
        return tuple(
            v.imag / step for v in self.forward(plus, x + 1j * step * dx, h0.astype(complex), c)
        )


class WithWeights(EditedCell):
    """A cell that comes with weights."""

    own_weights = draw(GRU(), Sizes(1, 1, 3, 2), seed=3, dtype="float64").params


def target_with_fault(label):
    return find(label).inject()


def _add_weight_decay(call, gradients):
    return gradients | {"W": gradients["W"] + call["params"]["W"] / 1024}


def _drop_state_gradients(call, gradients):
    return gradients if call["dy"] is not None else {k: 0 * v for k, v in gradients.items()}


GRU_, LSTM_, RNN_ = GRU(), LSTM(), RNN()

FAULTS = {
    "inputs_are_not_changed": target_with_fault("rnn: x scaled in place"),
    "repeated_calls_are_identical": target_with_fault("rnn: state kept although given"),
    "absent_arrays_mean_zero": target_with_fault("gru: absent h0 as ones"),
    "empty_sequence": target_with_fault("lstm: no steps give a zero state"),
    "empty_batch": target_with_fault("lstm: no rows refused"),
    "forward_within_budget": EditedCell(LSTM_, misread("a_i", b_i=other("b_o"))),
    "own_weights_within_budget": WithWeights(GRU_, misread("a_r", b_r=other("b_z"))),
    "gradients_within_budget": EditedCell(LSTM_, misread("dc_prev", f=1)),
    "long_sequences_within_budget": EditedCell(
        GRU_, misread("dh", dh_next=lambda s: s.dh_next * (s.t != 50))
    ),
    "big_sizes_within_budget": target_with_fault("lstm: last H mod 32 units zero"),
    "gradients_match_finite_differences": EditedCell(GRU_, misread("dq", r=1)),
    "gradients_match_complex_step": Complex(LSTM_, misread("dc", m=other("c"))),
    "taylor_remainder_has_next_order": EditedCell(RNN_, misread("da_n", h=other("a_n"))),
    "tangent_is_adjoint_of_backward": Tangent(LSTM_),
    "gates_in_unit_interval": EditedCell(
        LSTM_, replaced(f=lambda s: 1.25 * sigmoid(s.a_f) - 0.125)
    ),
    "saturated_gates_are_exactly_0_or_1": EditedCell(
        GRU_, replaced(z=lambda s: np.exp(s.a_z) / (1 + np.exp(s.a_z)))
    ),
    "update_is_convex_combination": EditedCell(
        GRU_, replaced(h=lambda s: s.n + (1 - s.z) * s.h_prev)
    ),
    "input_and_forget_gates_are_independent": EditedCell(LSTM_, misread("c", i=lambda s: 1 - s.f)),
    "update_gate_of_ones_is_plain_rnn": EditedCell(GRU_, misread("h", z=lambda s: 1 - s.z)),
    "update_gate_of_zeros_copies": EditedCell(
        GRU_, replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "reset_gate_of_zeros_forgets": EditedCell(GRU_, misread("a_n", r=1)),
    "open_forget_gate_holds_memory": EditedCell(LSTM_, misread("c", f=lambda s: 1 - s.f)),
    "closed_output_gate_gives_zero": EditedCell(LSTM_, misread("h", o=1)),
    "output_gate_folds_into_later_uses": EditedCell(
        LSTM_, replaced(h_prev=lambda s: s.before.m if s.before else s.h0)
    ),
    "zero_state_hides_recurrent_weights": target_with_fault("rnn: absent h0 as ones"),
    "outputs_are_causal": EditedCell(
        RNN_, misread("a_n", x=lambda s: s.all_x[min(s.t + 1, s.T - 1)])
    ),
    "gradients_are_causal": EditedCell(RNN_, misread("dh", dy=lambda s: s.all_dy[max(s.t - 1, 0)])),
    "rows_are_independent": EditedCell(
        RNN_,
        misread(
            "h_prev", before=lambda s: s.before and s.before.reading(h=np.roll(s.before.h, 1, -2))
        ),
    ),
    "split_sequence_equals_whole_sequence": EditedCell(
        LSTM_, misread("a_f", b_f=lambda s: s.b_f * (s.t == 0))
    ),
    "outputs_are_fresh_arrays": target_with_fault("rnn: outputs in a reused buffer"),
    "memory_layout_does_not_matter": target_with_fault("rnn: strides of x ignored"),
    "each_gate_has_its_own_weights": EditedCell(LSTM_, misread("a_f", b_f=other("b_o"))),
    "states_stay_bounded": EditedCell(GRU_, misread("h", n=other("a_n"))),
    "zero_weights_have_a_closed_form": EditedCell(LSTM_, misread("a_i", b_i=lambda s: 2 * s.b_i)),
    "negated_update_gate_swaps_shares": EditedCell(
        GRU_, replaced(h=lambda s: s.z * s.n + (1 - s.z) * s.r * s.h_prev)
    ),
    "open_reset_gate_commutes": EditedCell(GRU_, misread("q", U_n=transposed("U_n"))),
    "coupled_lstm_is_gru": EditedCell(LSTM_, replaced(g=lambda s: sigmoid(s.a_g))),
    "nan_propagates_within_its_row": target_with_fault("gru: NaN returned as zero"),
    "infinite_inputs_saturate": EditedCell(
        RNN_, replaced(h=lambda s: 1 - 2 / (np.exp(2 * s.a_n) + 1) + 0 * s.a_n)
    ),
    "units_can_be_permuted": EditedCell(
        GRU_, misread("a_z", b_z=lambda s: s.b_z * np.arange(s.b_z.shape[-1], dtype=s.b_z.dtype))
    ),
    "units_can_change_sign": EditedCell(LSTM_, replaced(m=lambda s: np.maximum(s.c, 0))),
    "inputs_can_change_coordinates": EditedCell(
        LSTM_, misread("dx", W_i=lambda s: s.W_i[..., ::-1, :])
    ),
    "input_and_weight_gradients_balance": EditedCell(
        LSTM_, misread("dx", da_o=lambda s: 0 * s.da_o)
    ),
    "bias_is_constant_input": EditedCell(RNN_, misread("db_n", da_n=lambda s: s.da_n / 2)),
    "activations_are_accurate": EditedCell(
        GRU_, replaced(r=lambda s: sigmoid(np.minimum(np.maximum(s.a_r, -8), 8)))
    ),
    "idle_unit_changes_nothing": target_with_fault("gru: last unit not updated"),
    "hard_gates_are_piecewise_linear": target_with_fault("gru-hard6: hard sigmoid of z 5 wide"),
    "cell_state_stays_within_clip": target_with_fault(
        "lstm-clip0.5: c clipped for the output only"
    ),
    "zero_peepholes_give_plain_cell": EditedCell(
        LSTM(peepholes=True), misread("a_f", b_f=other("b_o"))
    ),
    "results_have_expected_shapes": target_with_fault("gru: y squeezed"),
    "rows_can_be_permuted": target_with_fault("rnn: stale rows from the third on"),
    "gradients_are_linear_in_cotangents": target_with_fault("gru: gradients clipped by value"),
    "zero_cotangents_give_zero_gradients": wrapper(on_gradients=_add_weight_decay)(
        EditedCell(RNN_)
    ),
    "last_output_is_final_state": wrapper(on_gradients=_drop_state_gradients)(EditedCell(LSTM_)),
    "second_derivatives_are_symmetric": EditedCell(GRU_, misread("dh_prev", z=other("r"))),
    "huge_inputs_saturate": EditedCell(
        LSTM_, replaced(g=lambda s: (np.exp(2 * s.a_g) - 1) / (np.exp(2 * s.a_g) + 1))
    ),
    "subnormal_inputs_are_numbers": EditedCell(
        RNN_, replaced(h=lambda s: s.a_n / np.sqrt(s.a_n**2) * np.tanh(np.sqrt(s.a_n**2)))
    ),
    "diagonal_recurrence_commutes_with_reset": EditedCell(GRU_, misread("a_n", r=1)),
    "one_step_has_a_closed_form": EditedCell(
        LSTM(peepholes=True), misread("a_o", c=other("c_prev"))
    ),
    "lengths_within_budget": target_with_fault("gru: lengths: y goes on past the end"),
    "rows_end_at_their_lengths": target_with_fault("lstm: lengths: c not held"),
    "padding_has_no_effect": target_with_fault("rnn: lengths: dy of the padding read"),
    "full_lengths_change_nothing": target_with_fault("rnn: lengths: one too short"),
    "directions_are_mirror_images": target_with_fault(
        "rnn-bidirectional: reverse half one step late"
    ),
    "each_direction_is_causal": target_with_fault(
        "lstm-bidirectional: reverse direction runs forwards"
    ),
    "lower_layers_do_not_depend_on_upper": target_with_fault(
        "gru-layers2: final state of the last layer for all"
    ),
    "lower_states_give_upper_layers_no_gradient": target_with_fault(
        "lstm-layers2: dh0 of the layers in the opposite order"
    ),
    "projection_of_identity_is_plain_cell": target_with_fault("lstm-proj3: R reversed in its rows"),
    "projected_state_can_change_coordinates": target_with_fault(
        "lstm-proj3: tanh after the projection"
    ),
    "equal_units_stay_equal": EditedCell(
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


def test_every_property_has_a_fault():
    assert set(FAULTS) == {c.name for c in select_properties()}


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
    result = audit(EditedCell(cell), profile="quick", seed=1)
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
