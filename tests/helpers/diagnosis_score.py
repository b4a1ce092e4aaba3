"""Score of the diagnosis on ports with known bugs, and a sample for the tests.

To print the figures, run ``PYTHONPATH=tests python -m helpers.diagnosis_score [--pairs N]
[--every K] [--seed S]``.
"""

from __future__ import annotations

import argparse
import itertools
import random
import re
import time

import numpy as np

from gatecheck.cells import as_cell
from gatecheck.diagnosis.diagnose import diagnose
from gatecheck.faults.catalogue import faults
from gatecheck.implementation import subject
from helpers.port_forward import GATES
from helpers.ports import Autograd, Port


def bugs(cell):
    """Return the forward and the backward bugs that the ports of a cell can have.

    These are the ones for which their code asks.
    """
    known = {f.name: f.side(as_cell(cell)) for f in faults(cell)}
    requested = set()

    class Listener(Port):
        def has(self, bug):
            requested.add(bug)
            return False

    listener = Listener(cell)
    params = {k: np.ones(shape) for k, shape in as_cell(cell).param_shapes(2, 2).items()}
    state = np.ones((1, 2))
    listener.forward(params, np.ones((3, 1, 2)), state, state)
    forward = sorted(requested & known.keys())
    listener.backward(params, np.ones((3, 1, 2)), state, state, np.ones((3, 1, 2)), state, state)
    backward = sorted((requested & known.keys()) - set(forward))
    assert all(known[b] == "forward" for b in forward), [
        b for b in forward if known[b] != "forward"
    ]
    assert all(known[b] == "backward" for b in backward), [
        b for b in backward if known[b] != "backward"
    ]
    return forward, backward


def single_bug_ports():
    """Yield every port with one bug, in one of two dtypes, by hand or by autograd."""
    for cell in GATES:
        forward, backward = bugs(cell)
        for k, bug in enumerate(forward + backward):
            yield Port(cell, bug, dtype=("float32", "float64")[k % 2])
        for k, bug in enumerate(forward):
            yield Autograd(cell, bug, dtype=("float64", "float32")[k % 2])


def two_bug_ports(n, seed):
    """Yield ports with two bugs, drawn from a seed.

    By hand with any two bugs, by autograd with forward ones.
    """
    rng = random.Random(seed)
    for k in range(n):
        cell = rng.choice([c for c in GATES if c != "rnn"])
        forward, backward = bugs(cell)
        dtype = ("float32", "float64")[k % 2]
        if k % 5 == 4:
            yield Autograd(cell, *rng.sample(forward, 2), dtype=dtype)
        else:
            yield Port(cell, *rng.sample(forward + backward, 2), dtype=dtype)


def correct_ports():
    """Yield ports without a bug."""
    for cell, port, dtype in itertools.product(GATES, (Port, Autograd), ("float32", "float64")):
        yield port(cell, dtype=dtype)


def mark_diagnosis(port, seed=0, **options):
    """Return the mark of one diagnosis, and the diagnosis.

    ``named`` if the port's bugs are among the explanations, ``equal`` if something that has no more
    faults reproduces every number, ``larger`` if something that has more does, else ``cut`` or
    ``none``.
    """
    diagnosis = diagnose(subject(port), seed=seed, **options)
    expected = set(port.bugs)
    if any(set(e.names) == expected for e in diagnosis.explanations):
        return "named", diagnosis
    if diagnosis.explanations:
        return "equal" if len(diagnosis.explanations[0].names) <= len(
            expected
        ) else "larger", diagnosis
    return "cut" if re.search("ran out of time", diagnosis.message) else "none", diagnosis


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=120)
    options.add_argument("--every", type=int, default=1, help="take every k-th single")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    for cell in GATES:
        print(cell, "bugs: {} forward, {} backward".format(*map(len, bugs(cell))))
    some = itertools.islice(single_bug_ports(), chosen.seed % chosen.every, None, chosen.every)
    for what, ports in (
        ("right", correct_ports()),
        ("single", some),
        ("pair", two_bug_ports(chosen.matching_pairs, chosen.seed)),
    ):
        marks, seconds = {}, []
        for port in ports:
            start = time.process_time()
            mark, found = mark_diagnosis(port, chosen.seed, time_limit_s=60)
            seconds.append(time.process_time() - start)
            marks[mark] = marks.get(mark, 0) + 1
            if mark != "named" and what != "right":
                names = [" + ".join(e.names) for e in found.explanations]
                print(
                    f"  {mark} {seconds[-1]:.1f} s  {port.name}: {names or found.message}",
                    flush=True,
                )
        total = len(seconds)
        if not total:
            continue
        seconds.sort()
        share = {k: f"{v}/{total} = {v / total:.1%}" for k, v in sorted(marks.items())}
        print(
            f"{what}: {share}; CPU seconds median {seconds[total // 2]:.2f}, "
            f"95 % {seconds[int(0.95 * total)]:.2f}, most {seconds[-1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
