"""Check that `chainer` and `chainer-gru` reproduce Chainer's links.

They are LSTM and StatelessGRU. Chainer 7.8.1 is the last one and needs an older NumPy, with which
our equations run too. In an environment with ``pip install numpy==1.23.5 scipy==1.10.1 six filelock
protobuf setuptools==65.5 wheel``, then ``pip install --no-deps --no-build-isolation chainer`` and
``pip install --no-deps .``, from the repository's root: ``python
reports/conventions/chainer_check.py``
"""

from __future__ import annotations

import chainer
import numpy as np
from against import compare_with_reference

from gatecheck._util.typing import Array
from gatecheck.cases import Case


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one link, step by step."""
    (_, _, D, H), x = case.sizes, case["x"]
    with chainer.using_config("dtype", np.float64):
        link = (
            chainer.links.LSTM(D, H)
            if case.cell.kind == "lstm"
            else chainer.links.StatelessGRU(D, H)
        )
    params = {name.removeprefix("/"): p for name, p in link.namedparams()}
    if params.keys() != arrays.keys():
        raise SystemExit(f"Chainer has the parameters {sorted(params)}, the entry {sorted(arrays)}")
    for name, array in arrays.items():
        # Not by assigning an array, which would take any shape.
        params[name].data[...] = array.reshape(params[name].shape)
        if params[name].shape != array.shape:
            raise SystemExit(f"{name} is {params[name].shape}, in the entry {array.shape}")
    if case.cell.kind == "lstm":
        link.set_state(chainer.Variable(case["c0"].copy()), chainer.Variable(case["h0"].copy()))
        y = np.stack([link(x_t).array for x_t in x])
        return {"y": y, "hT": link.h.array, "cT": link.c.array}
    h, y = chainer.Variable(case["h0"].copy()), []
    for x_t in x:
        h = link(h, x_t)
        y.append(h.array)
    return {"y": np.stack(y), "hT": y[-1]}


if __name__ == "__main__":
    compare_with_reference("chainer", ["lstm"], compute, chainer.__version__, "float64")
    compare_with_reference("chainer-gru", ["gru-before"], compute, chainer.__version__, "float64")
