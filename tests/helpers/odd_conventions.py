"""Conventions that nobody has, so that each attribute of a convention differs."""

from __future__ import annotations

from dataclasses import replace

from gatecheck.conventions import Convention, Layout

_SEPARATE = {"kernel": "W", "recurrent": "U", "bias": "b", "extra": "c_n"}

# It differs in every way at once, so that some entry exercises each attribute of a convention.
ODD = Convention(
    "odd",
    {
        "rnn": Layout("n", _SEPARATE),
        "gru": Layout("znr", _SEPARATE, negated="z"),
        "gru-before": Layout("nzr", _SEPARATE, negated="zr"),
        "lstm": Layout("oifg", _SEPARATE | {"peeps": "p : ofi"}, negated="fo"),
    },
)


def for_every_cell(name, arrays, **more):
    """Return a convention with the same arrays for every cell, in unusual gate orders."""
    orders = {"rnn": "n", "gru": "nzr", "gru-before": "rnz", "lstm": "gofi"}
    return Convention(
        name,
        {
            kind: Layout(order, arrays, negated="z" * ("z" in order))
            for kind, order in orders.items()
        },
        **more,
    )


TEST_CONVENTIONS = [
    ODD,
    replace(ODD, name="odd-rows", rows=True),
    for_every_cell(
        "two-biases",
        {"w": "W", "u": "U", "b": "b", "c": "c", "p": "p"},
        rows=True,
        vectors="column",
    ),
    for_every_cell("stacked-biases", {"w": "W", "u": "U", "b": "b; c", "p": "p"}),
    for_every_cell("biases-beside", {"w": "W", "u": "U", "b": "b | c", "p": "p"}, interleaved=True),
    for_every_cell(
        "candidate-beside", {"w": "W", "u": "U", "b": "b | c_n", "p": "p"}, vectors="row"
    ),
    for_every_cell("x-above-h", {"k": "W; U", "b": "b", "c": "c_n", "p": "p"}),
    for_every_cell(
        "h-beside-x", {"k": "U; W", "b": "b", "c": "c_n", "p": "p"}, rows=True, vectors="column"
    ),
    for_every_cell("bias-first", {"k": "b; W; U", "c": "c_n", "p": "p"}),
    for_every_cell(
        "bias-last-in-columns", {"k": "W; U; b; c", "p": "p"}, rows=True, interleaved=True
    ),
    for_every_cell(
        "apart",
        {"W{gate}": "W", "U{gate}": "U", "b{gate}": "b", "c": "c_n", "p{gate}": "p"},
        rows=True,
    ),
    for_every_cell(
        "apart-joined", {"K_{gate}": "b; U; W", "c": "c_n", "p{gate}": "p"}, vectors="row"
    ),
    for_every_cell(
        "turned", {"w": "W'", "u": "U", "b": "b", "c": "c_n", "p": "p", "R": "R'"}, rows=True
    ),
    for_every_cell("turned-beside", {"k": "b'; W'", "u": "U'", "c": "c_n", "p": "p", "R": "R'"}),
    for_every_cell(
        "interleaved", {"w": "W", "u": "U", "b": "b", "c": "c_n", "p": "p"}, interleaved=True
    ),
    Convention(
        "in-two",
        {
            "gru": Layout(
                "rzn", {"k": "W; U : zr", "n": "W; U : n", "kb": "b: zr", "nb": "b : n", "c": "c_n"}
            )
        },
    ),
    for_every_cell(
        "directions-stacked",
        {"W{layer}": "W", "U{layer}": "U", "B{layer}": "b | c", "P{layer}": "p", "R{layer}": "R"},
        rows=True,
        stacked=True,
    ),
]
