"""Options of Flax's ``RNN``, and defaults of its cells that affect an audit.

The options are directions in time, axes, and lengths.
"""

import importlib

import jax
import numpy as np
import pytest
from flax import linen, nnx

from gatecheck.cases import draw
from gatecheck.cells import Sizes
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import check_agreement
from gatecheck.implementation import subject
from gatecheck.targets.loading import ADAPTERS


@pytest.mark.parametrize("ragged", [False, True], ids=["", "lengths"])
@pytest.mark.parametrize(
    "options",
    [{"reverse": True}, {"time_major": False}, {"reverse": True, "time_major": False}],
    ids=str,
)
@pytest.mark.parametrize("module", ["flax.linen", "flax.nnx"])
def test_reverse_and_batch_first(module, options, ragged):
    implementation = subject(
        importlib.import_module(ADAPTERS[module]).adapt("OptimizedLSTMCell", **options)
    )
    assert implementation.options == {
        {"reverse": "reverse", "time_major": "batch_first"}[k] for k in options
    }
    case = draw(
        implementation.cell,
        Sizes(T=5, B=3, D=2, H=4),
        seed=3,
        dtype="float64",
        ragged=ragged,
        absent=("c0", "dy"),
    )
    budget = case_budget(case)
    assert (
        check_agreement(
            case.cell, implementation.run(case), budget.exact, budget.tolerance
        ).inconclusive
        == 0
    )


def test_flax_does_not_zero_padding():
    """Flax documents this; so an audit sets the padding to zero."""
    x, lengths = np.ones((4, 2, 3), np.float32), np.array([4, 2], np.int32)
    module = linen.RNN(
        linen.GRUCell(5, recurrent_kernel_init=jax.nn.initializers.normal()), time_major=True
    )
    y = module.apply(module.init(jax.random.key(0), x), x, seq_lengths=lengths)
    assert np.any(y[2:, 1])
    assert not np.any(
        importlib.import_module(ADAPTERS["flax.linen"]).zero_padding(y, lengths, True)[2:, 1]
    )


def test_nnx_simple_cell_defaults_to_float32():
    zero = nnx.initializers.zeros_init()  # the default initializers take seconds to compile
    given = {
        "param_dtype": jax.numpy.float64,
        "kernel_init": zero,
        "recurrent_kernel_init": zero,
        "rngs": nnx.Rngs(0),
    }
    with jax.enable_x64(True):
        cell = nnx.SimpleCell(2, 3, **given)
        assert cell(np.ones((1, 3)), np.ones((1, 2)))[1].dtype == np.float32
        for other in (nnx.GRUCell, nnx.LSTMCell, nnx.OptimizedLSTMCell):
            cell = other(2, 3, **given)
            carry = np.ones((1, 3)) if other is nnx.GRUCell else (np.ones((1, 3)), np.ones((1, 3)))
            assert cell(carry, np.ones((1, 2)))[1].dtype == np.float64


def test_a_gru_of_nnx_has_no_bias_inside_the_reset():
    """Its docstring has one (b_hn), its code does not; Linen's has one."""
    zero = nnx.initializers.zeros_init()
    module = nnx.GRUCell(2, 3, kernel_init=zero, recurrent_kernel_init=zero, rngs=nnx.Rngs(0))
    assert module.dense_h.bias is None
    implementation = subject(importlib.import_module(ADAPTERS["flax.nnx"]).adapt("GRUCell"))
    assert implementation.convention.unsupported_params(implementation.cell) == ["c_n"]
    cell = linen.GRUCell(3, recurrent_kernel_init=zero)
    assert (
        "bias"
        in cell.init(jax.random.key(0), np.ones((1, 3), np.float32), np.ones((1, 2), np.float32))[
            "params"
        ]["hn"]
    )
