"""A user's function in JAX: right ones pass, wrong ones fail, in any layout."""

import sys
from dataclasses import replace
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gatecheck as gk
from gatecheck.auditing import audit
from gatecheck.cases import draw
from gatecheck.cells import Sizes, as_cell
from gatecheck.checking.budgets import case_budget
from gatecheck.checking.evidence import Violation, check_agreement
from gatecheck.conventions import CONVENTIONS
from gatecheck.errors import ContractError, TargetCrashError, UsageError
from gatecheck.implementation import subject
from gatecheck.targets.adapters import jax as adapter


def gru(params, x, h0):
    def step(h, x_t):
        xr, xz, xn = jnp.split(x_t @ params["W"] + params["b"], 3, axis=-1)
        hr, hz, hn = jnp.split(h @ params["U"], 3, axis=-1)
        r, z = jax.nn.sigmoid(xr + hr), jax.nn.sigmoid(xz + hz)
        h = h + z * (jnp.tanh(xn + r * (hn + params["c_n"])) - h)
        return h, h

    h, y = jax.lax.scan(step, h0, x)
    return y, h


def gru_of_lengths(params, x, h0, lengths=None):
    ends = jnp.full(x.shape[1], len(x)) if lengths is None else lengths

    def step(h, now):
        t, x_t = now
        inside = (t < ends)[:, None]
        new = jnp.where(inside, gru(params, x_t[None], h)[1], h)
        return new, jnp.where(inside, new, 0)

    h, y = jax.lax.scan(step, h0, (jnp.arange(len(x)), x))
    return y, h


def rnn_in_columns(params, x, h0):
    """An RNN with states (H, B) and x (B, T, D)."""

    def step(h, x_t):
        h = jnp.tanh(params["W"].T @ x_t + params["U"].T @ h + params["b"][:, None])
        return h, h

    h, y = jax.lax.scan(step, h0, x.transpose(1, 2, 0))
    return y.transpose(2, 0, 1), h


CANONICAL = CONVENTIONS["canonical"]
COLUMNS = replace(CANONICAL, name="columns", axes="BTD", columns=True)

RIGHT = {
    "gru": lambda: gk.from_jax(gru, cell="gru"),
    "lengths": lambda: gk.from_jax(gru_of_lengths, cell="gru"),
    "columns": lambda: gk.from_jax(rnn_in_columns, cell="rnn", convention=COLUMNS),
    "xla": lambda: gk.from_jax(gru, cell="gru", compiler_options={}),
    "jitted": lambda: gk.from_jax(jax.jit(gru), cell="gru"),
}


ABSENT = [(), ("h0",), ("dy",), ("h0", "dhT")]


# With XLA's default options each takes four times as long to compile.
@pytest.mark.parametrize(
    ("name", "absent"),
    [(name, k) for name in RIGHT for k in ABSENT if not (name == "xla" and k)],
    ids=str,
)
def test_correct_function_equals_the_equations(name, absent):
    implementation = subject(RIGHT[name]())
    for dtype in ("float32", "float64"):
        case = draw(
            implementation.cell,
            Sizes(T=4, B=3, D=2, H=5),
            seed=1,
            dtype=dtype,
            absent=absent,
            ragged=name == "lengths",
        )
        budget = case_budget(case)
        assert (
            check_agreement(
                case.cell, implementation.run(case), budget.exact, budget.tolerance
            ).inconclusive
            == 0
        )


def test_a_right_function_passes(monkeypatch):
    monkeypatch.setitem(audit.PROFILES, "quick", 2)
    result = gk.audit(gk.from_jax(gru_of_lengths, cell="gru"), profile="quick")
    assert result.verdict == "pass", [
        p for p in result.properties if p.outcome not in ("passed", "skipped")
    ]
    ran = {p.name for p in result.properties if p.outcome == "passed"}
    assert {
        "tangent_is_adjoint_of_backward",
        "gradients_within_budget",
        "lengths_within_budget",
    } < ran
    assert "jax" in result.versions


@jax.custom_vjp
def wrong_tanh(a):
    return jnp.tanh(a)


wrong_tanh.defvjp(lambda a: (jnp.tanh(a), jnp.tanh(a)), lambda y, d: (d * (1 - y),))


def wrong_gradient(params, x, h0):
    h, y = jax.lax.scan(
        lambda h, x_t: (wrong_tanh(x_t @ params["W"] + h @ params["U"] + params["b"]),) * 2, h0, x
    )
    return y, h


def wrong_value(params, x, h0):
    h, y = jax.lax.scan(
        lambda h, x_t: (jnp.tanh(x_t @ params["W"] + h @ params["U"].T + params["b"]),) * 2, h0, x
    )
    return y, h


@pytest.mark.parametrize(
    ("function", "outputs_are_right"), [(wrong_value, False), (wrong_gradient, True)]
)
def test_a_wrong_function_fails(function, outputs_are_right):
    implementation = subject(gk.from_jax(function, cell="rnn"))
    case = draw(implementation.cell, Sizes(T=4, B=3, D=2, H=5), seed=1, dtype="float64")
    budget = case_budget(case)
    with pytest.raises(Violation, match="dx|dh0|dW|dU|db" if outputs_are_right else "y"):
        check_agreement(case.cell, implementation.run(case), budget.exact, budget.tolerance)
    if outputs_are_right:
        check_agreement(
            case.cell,
            implementation.forward(case),
            {k: budget.exact[k] for k in ("y", "hT")},
            budget.tolerance,
        )


def test_each_dtype_in_its_own_mode():
    seen = []

    def function(params, x, h0):
        seen.append((x.dtype.name, jnp.zeros(1).dtype.name))
        return gru(params, x, h0)

    implementation = subject(gk.from_jax(function, cell="gru"))
    for dtype in ("float32", "float64"):
        implementation.forward(draw(as_cell("gru"), Sizes(2, 1, 3, 4), seed=0, dtype=dtype))
    assert set(seen) == {("float32", "float32"), ("float64", "float64")}
    assert jnp.zeros(1).dtype == np.float32, "the mode is left as it was"


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (
            lambda params, x, h0: gru(params, x, h0)[0],
            ContractError,
            r"a tuple of 1 items, but should return \(y, hT\)",
        ),
        (
            lambda params, x, h0: (*gru(params, x, h0), h0),
            ContractError,
            r"a tuple of 3 items, but should return \(y, hT\)",
        ),
        (lambda params, x, h0: (gru(params, x, h0)[0][0], h0), ContractError, "y has shape"),
        (
            lambda params, x, h0: (gru(params, x, h0)[0].astype(jnp.float16), h0),
            ContractError,
            "y has dtype float16",
        ),
        (lambda params, x: (x, x), TargetCrashError, "forward raised TypeError"),
        (
            lambda params, x, h0: (x @ params["nope"], h0),
            TargetCrashError,
            "forward raised KeyError: 'nope'",
        ),
    ],
)
def test_a_function_that_does_not_keep_the_protocol(function, error, message):
    implementation = subject(gk.from_jax(function, cell="gru"))
    with pytest.raises(error, match=message):
        implementation.forward(draw(as_cell("gru"), Sizes(4, 1, 3, 5), seed=0, dtype="float32"))


def test_an_option_that_xla_does_not_know_is_left_out():
    assert all(adapter._is_known_option(k, v) for k, v in adapter.FAST_COMPILE_OPTIONS.items()), (
        "the version that is tested has all of them"
    )
    assert not adapter._is_known_option("xla_no_such_option", 1)
    implementation = subject(
        gk.from_jax(gru, cell="gru", compiler_options={"xla_no_such_option": 1})
    )
    assert implementation.forward(draw(as_cell("gru"), Sizes(2, 1, 3, 4), seed=0, dtype="float32"))


def test_unknown_names_are_usage_errors():
    with pytest.raises(UsageError, match="there is no cell 'grru'"):
        gk.from_jax(gru, cell="grru")
    with pytest.raises(UsageError, match="there is no convention 'fax'"):
        gk.from_jax(gru, cell="gru", convention="fax")


@pytest.mark.skipif(sys.platform != "linux", reason="mappings are counted in /proc")
def test_compiled_programs_do_not_pile_up(monkeypatch):
    # With some 65,530 mappings XLA cannot map the next program and Linux ends the process.
    monkeypatch.setattr(adapter, "MAX_PROGRAMS", 4)
    target = gk.from_jax(gru, cell="gru", convention="canonical")
    rng = np.random.default_rng(0)
    params = {
        k: rng.standard_normal(shape) for k, shape in as_cell("gru").param_shapes(2, 3).items()
    }
    h0, counts = np.zeros((1, 3)), []
    for T in range(1, 13):
        target.forward(params, rng.standard_normal((T, 1, 2)), h0)
        counts.append(len(Path("/proc/self/maps").read_text().splitlines()))
    assert max(counts[4:]) <= max(counts[:4]) + (counts[3] - counts[0])
    assert counts[3] > counts[0]


# ---- accelerators


def test_full_precision_on_accelerators(monkeypatch):
    seen = []

    def forward(params, x, h0):
        seen.append(jax.config.jax_default_matmul_precision)
        return gru(params, x, h0)

    def audited():
        seen.clear()
        target = gk.from_jax(forward, cell="gru")
        assert gk.audit(target, profile="quick", only=["forward_within_budget"]).verdict == "pass"
        return subject(target).limitations

    assert not any("computed on" in says for says in audited())
    assert set(seen) == {None}
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    assert any(
        "it was computed on gpu, with matrix products in full float32" in says for says in audited()
    )
    assert set(seen) == {"highest"}
