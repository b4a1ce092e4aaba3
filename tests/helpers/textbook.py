"""A target that is the reference, with declarations to change, and its cases."""

from __future__ import annotations

from gatecheck.cases import draw
from gatecheck.cells import LSTM, Sizes, as_cell
from gatecheck.conventions import as_convention
from gatecheck.reference import equations, run

SIZES = Sizes(T=4, B=2, D=3, H=5)


class Textbook:
    """The reference, in the convention that it declares."""

    cell = "lstm"
    convention = None

    def _run(self, params, x, states, dy=None, finals=()):
        cell, convention = as_cell(self.cell), as_convention(self.convention)
        arrays = {"x": x, "dy": dy}
        arrays = {
            k: None if v is None else v.transpose([convention.axes.index(axis) for axis in "TBD"])
            for k, v in arrays.items()
        }
        order = convention.states if cell.kind == "lstm" else "hc"
        given = dict(zip((f"{k}0" for k in order), states, strict=False)) | dict(
            zip((f"d{k}T" for k in order), finals, strict=False)
        )
        arrays |= {
            k: None if v is None else convention.state_to_canonical(cell, v)
            for k, v in given.items()
        }
        out = run(
            equations(cell),
            convention.to_canonical(cell, params)
            | {k: v for k, v in arrays.items() if v is not None},
        )
        out |= {
            k: convention.state_from_canonical(cell, v)
            for k, v in out.items()
            if k.removeprefix("d") in ("h0", "c0", "hT", "cT")
        }
        turned = {
            k: out[k].transpose(["TBD".index(axis) for axis in convention.axes])
            for k in ("y", "dx")
            if k in out
        }
        return cell, convention, out | turned

    def forward(self, params, x, h0, c0=None):
        cell, convention, out = self._run(params, x, (h0, c0))
        return tuple(
            out[k] for k in ("y", *(f"{s}T" for s in convention.states if s in cell.state))
        )

    def backward(self, params, x, h0, c0, dy, dhT, dcT):
        cell, convention, out = self._run(params, x, (h0, c0), dy, (dhT, dcT))
        grads = convention.gradients(cell, {k: out[f"d{k}"] for k in cell.param_shapes(1, 1)})
        return grads | {k: out[f"d{k}"] for k in ("x", *(f"{s}0" for s in cell.state))}


def make_target(**attributes):
    return type("Mine", (Textbook,), attributes)()


def case_of(cell=None, dtype="float64", **how):
    return draw(cell or LSTM(), SIZES, seed=1, dtype=dtype, **how)
