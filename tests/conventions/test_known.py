"""Known conventions by name: conversion between them, and its errors."""

from __future__ import annotations

import numpy as np
import pytest

import gatecheck as gk
from gatecheck.cases import draw
from gatecheck.cells import GRU, Sizes
from gatecheck.conventions import CONVENTIONS, Convention, Layout, as_convention
from gatecheck.errors import ConventionError, UsageError
from helpers.odd_conventions import ODD

SIZES = Sizes(T=6, B=2, D=3, H=4)


def test_convert_goes_there_and_back():
    params = draw(GRU(), SIZES, seed=0, dtype="float32").params
    there = gk.convert(params, "canonical", "pytorch", "gru")
    assert set(there) == {"weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0"}
    back = gk.convert(there, "pytorch", ODD, GRU())
    again = gk.convert(back, ODD, "canonical", "gru")
    assert all((again[k] == params[k]).all() for k in params)
    H = SIZES.H
    np.testing.assert_array_equal(there["weight_hh_l0"][H : 2 * H], -params["U"][:, H : 2 * H].T)
    np.testing.assert_array_equal(there["bias_hh_l0"][2 * H :], params["c_n"])


def test_two_biases_are_one():
    zeros = {"weight_ih_l0": np.zeros((8, 3)), "weight_hh_l0": np.zeros((8, 2))}
    read = gk.convert(
        zeros | {"bias_ih_l0": np.arange(8.0), "bias_hh_l0": 10 * np.arange(8.0)},
        "pytorch",
        "canonical",
        "lstm",
    )
    np.testing.assert_array_equal(read["b"], 11 * np.arange(8.0))


def test_known_by_name_or_by_itself():
    assert as_convention(None) is CONVENTIONS["canonical"] is as_convention("canonical")
    assert as_convention(ODD) is ODD
    assert all(
        name == convention.name and convention.source for name, convention in CONVENTIONS.items()
    )


def torch_lstm(**instead):
    good = {
        "weight_ih_l0": (8, 3),
        "weight_hh_l0": (8, 2),
        "bias_ih_l0": (8,),
        "bias_hh_l0": (8,),
    } | instead
    return {k: np.zeros(v) for k, v in good.items() if v is not None}


BAD = [
    (
        torch_lstm(bias_hh_l0=None),
        "pytorch",
        "lstm",
        ConventionError,
        "the arrays are named ['bias_ih_l0', 'weight_hh_l0', 'weight_ih_l0']",
    ),
    (
        torch_lstm(extra=(2,)),
        "pytorch",
        "lstm",
        ConventionError,
        "but in the convention pytorch should be ['bias_hh_l0', 'bias_ih_l0',",
    ),
    (
        torch_lstm(),
        "pytorch-cell",
        "lstm",
        ConventionError,
        "but in the convention pytorch-cell should be ['bias_hh', 'bias_ih',",
    ),
    (
        torch_lstm(weight_ih_l0=(3, 8)),
        "pytorch",
        "lstm",
        ConventionError,
        "weight_ih_l0 has shape (3, 8), but should have shape (8, 8) (D = 8, H = 2)",
    ),
    (
        torch_lstm(bias_ih_l0=(6,)),
        "pytorch",
        "lstm",
        ConventionError,
        "bias_ih_l0 has shape (6,), but should have shape (8,) (D = 3, H = 2)",
    ),
    (
        torch_lstm(weight_hh_l0=(8,)),
        "pytorch",
        "lstm",
        ConventionError,
        "weight_hh_l0 has shape (8,), but should be a matrix",
    ),
    (
        torch_lstm(),
        "pytorch",
        "gru",
        ConventionError,
        "weight_ih_l0 has shape (8, 3), but should have shape (6, 3) (D = 3, H = 2)",
    ),
    (
        torch_lstm(),
        "pytorch",
        "gru-before",
        ConventionError,
        "the convention pytorch cannot express a GRU that resets before the product h U_n",
    ),
    (
        torch_lstm(),
        Convention("bare", {"gru": Layout("rzn", {"k": "W; U"})}),
        "lstm",
        ConventionError,
        "the convention bare has no lstm",
    ),
    (
        torch_lstm(),
        "torch",
        "lstm",
        UsageError,
        "there is no convention 'torch'; the conventions are canonical, pytorch, pytorch-cell",
    ),
    (torch_lstm(), "pytorch", "ltsm", UsageError, "there is no cell 'ltsm'"),
]


@pytest.mark.parametrize(
    ("arrays", "source", "cell", "error", "message"), BAD, ids=[m for *_, m in BAD]
)
def test_invalid_parameters_are_reported(arrays, source, cell, error, message):
    with pytest.raises(error) as caught:
        gk.convert(arrays, source, "canonical", cell)
    assert message in str(caught.value)
