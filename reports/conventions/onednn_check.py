"""Check that the entry `onednn` reproduces oneDNN's recurrent cells.

They are vanilla RNN, GRU, LBR GRU and LSTM on the CPU, by its C API. In an environment with ``pip
install onednn-devel-cpu-gomp .``, from the repository's root: ``python
reports/conventions/onednn_check.py``
"""

from __future__ import annotations

import ctypes
import sys
from importlib.metadata import version

import numpy as np
from against import compare_with_reference

from gatecheck._util.typing import Array
from gatecheck.cases import Case

CELLS = [
    "rnn",
    "rnn-relu",
    "rnn-sigmoid",
    "gru",
    "gru-before",
    "lstm",
    "lstm-peepholes",
    "lstm-proj4",
    "lstm-peepholes-proj4",
]
# From dnnl_types.h; ARGS is in the order in which the arguments' descriptors are passed.
CPU, IN_ORDER, F32, FORWARD_INFERENCE, LEFT_TO_RIGHT, NO_FLAGS = 1, 1, 3, 96, 1, 0
ARGS = {
    "x": 1,
    "h0": 2,
    "c0": 3,
    "weights_layer": 33,
    "weights_iter": 34,
    "weights_peephole": 35,
    "weights_projection": 36,
    "bias": 41,
}
ARGS |= {"y": 17, "hT": 18, "cT": 19}

dnnl, Handle = ctypes.CDLL(f"{sys.prefix}/lib/libdnnl.so"), ctypes.c_void_p
Argument = type(
    "dnnl_exec_arg_t",
    (ctypes.Structure,),
    {"_fields_": [("arg", ctypes.c_int), ("memory", Handle)]},
)


def create_handle(function: str, *args: object) -> Handle:
    """Call a function of oneDNN, and return the handle that it creates."""
    handle = Handle()
    if status := getattr(dnnl, f"dnnl_{function}")(ctypes.byref(handle), *args):
        raise SystemExit(f"dnnl_{function} returned {status}")
    return handle


def compute(case: Case, arrays: dict[str, Array]) -> dict[str, Array]:
    """Return the results of one layer in one direction, whose L and D are one."""
    cell, (T, B, D, H), P, G = (
        case.cell,
        case.sizes,
        case.cell.width(case.sizes.H),
        len(case.cell.gates),
    )
    # tnc, ldnc, ldigo, ldgo and ldio: all dense, so that a reshape is enough.
    shapes = {
        "x": (T, B, D),
        "y": (T, B, P),
        "h0": (1, 1, B, P),
        "hT": (1, 1, B, P),
        "c0": (1, 1, B, H),
        "cT": (1, 1, B, H),
    }
    shapes |= {
        "weights_layer": (1, 1, D, G, H),
        "weights_iter": (1, 1, P, G, H),
        "weights_projection": (1, 1, H, P),
    }
    shapes |= {"bias": (1, 1, -1, H), "weights_peephole": (1, 1, 3, H)}
    data = {
        k: np.array(v).reshape(shapes[k])
        for k, v in (arrays | dict(case.arrays)).items()
        if k in ARGS
    }
    data |= (
        results := {
            k: np.full(shapes[k], np.nan, np.float32) for k in ("y", *(f"{k}T" for k in cell.state))
        }
    )
    engine = create_handle("engine_create", CPU, ctypes.c_size_t(0))
    descs = {
        k: create_handle(
            "memory_desc_create_with_tag", v.ndim, (ctypes.c_int64 * 12)(*v.shape), F32, v.ndim + 1
        )
        for k, v in data.items()
    }
    order = [
        k
        for k in ARGS
        if cell.kind == "lstm" or k not in ("c0", "cT", "weights_peephole", "weights_projection")
    ]
    name = (
        "vanilla_rnn" if cell.kind == "rnn" else "lbr_gru" if cell.reset == "after" else cell.kind
    )
    activation = [{"relu": 0x20, "tanh": 0x21, "sigmoid": 0x29}[cell.activation]] * (
        cell.kind == "rnn"
    )
    operands = (
        *activation,
        LEFT_TO_RIGHT,
        *(descs.get(k) for k in order),
        NO_FLAGS,
        *[ctypes.c_float(0)] * (2 * len(activation)),
        None,
    )
    primitive = create_handle(
        "primitive_create",
        create_handle(
            f"{name}_forward_primitive_desc_create", engine, FORWARD_INFERENCE, *operands
        ),
    )
    memories = [
        Argument(ARGS[k], create_handle("memory_create", descs[k], engine, Handle(v.ctypes.data)))
        for k, v in data.items()
    ]
    stream, n = create_handle("stream_create", engine, IN_ORDER), len(memories)
    if status := dnnl.dnnl_primitive_execute(
        primitive, stream, n, (Argument * n)(*memories)
    ) or dnnl.dnnl_stream_wait(stream):
        raise SystemExit(f"dnnl_primitive_execute returned {status}")
    return {k: v if k == "y" else v[0, 0] for k, v in results.items()}


if __name__ == "__main__":
    compare_with_reference("onednn", CELLS, compute, "3.2 (" + version("onednn-cpu-gomp") + ")")
