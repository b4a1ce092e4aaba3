"""A plain RNN as a program, with the standard library only.

Run it by ``gatecheck audit "exec:python rnn_program.py"``; with the argument ``wrong`` it is wrong.
It has no backward and computes in float64 only. The messages are described in
gatecheck/targets/adapters/program.py.
"""

import math
import struct
import sys

source, sink = sys.stdin.buffer, sys.stdout.buffer
wrong = "wrong" in sys.argv


def request():
    what, *sizes = source.readline().split()
    arrays = {}
    while (line := source.readline()) not in (b"end\n", b""):
        _, name, _, *shape = line.split()
        count = math.prod(map(int, shape))
        arrays[name.decode()] = struct.unpack(f"<{count}d", source.read(8 * count))
    return what, [int(n) for n in sizes[1:]], arrays


def rnn(T, B, D, H, W, U, b, x, h0=None):  # canonical arrays: x W + h U + b, row by row
    h, y = list(h0 or [0.0] * (B * H)), []
    for t in range(T):
        new = []
        for row in range(B):
            seen, old = x[(t * B + row) * D : (t * B + row + 1) * D], h[row * H : (row + 1) * H]
            for j in range(H):
                a = (
                    b[j]
                    + sum(v * W[d * H + j] for d, v in enumerate(seen))
                    + sum(v * U[k * H + j] for k, v in enumerate(old))
                )
                new.append(a / (1 + abs(a)) if wrong else math.tanh(a))
        h = new
        y += h
    return y, h


while True:
    try:
        what, sizes, arrays = request()
    except ValueError:  # the input ended
        break
    if what == b"describe":
        sink.write(b"gatecheck 1\ncell rnn\ndtypes float64\nend\n")
    else:
        T, B, D, H = sizes
        y, hT = rnn(*sizes, **arrays)
        for name, shape, values in (("y", f"{T} {B} {H}", y), ("hT", f"{B} {H}", hT)):
            sink.write(
                f"array {name} float64 {shape}\n".encode()
                + struct.pack(f"<{len(values)}d", *values)
            )
        sink.write(b"end\n")
    sink.flush()
