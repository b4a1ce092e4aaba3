"""How often a diagnosis names what was planted in the ports: the whole measurement, and a sample of
it for the tests.

Run as a program it prints the figures: ``python tests/helpers/diagnosis_score.py [--pairs N] [--seed S]``.
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
from helpers.ports import GATES, Autograd, Port


def bugs(cell):
    """The forward and the backward bugs that the ports of a cell have: those for which their code
    asks.
    """
    known = {f.name: f.side(as_cell(cell)) for f in faults(cell)}
    asked = set()

    class Listener(Port):
        def has(self, bug):
            asked.add(bug)
            return False

    one = Listener(cell)
    made = {k: np.ones(shape) for k, shape in as_cell(cell).param_shapes(2, 2).items()}
    state = np.ones((1, 2))
    one.forward(made, np.ones((3, 1, 2)), state, state)
    ahead = sorted(asked & known.keys())
    one.backward(made, np.ones((3, 1, 2)), state, state, np.ones((3, 1, 2)), state, state)
    behind = sorted((asked & known.keys()) - set(ahead))
    assert all(known[b] == "forward" for b in ahead), [b for b in ahead if known[b] != "forward"]
    assert all(known[b] == "backward" for b in behind), [
        b for b in behind if known[b] != "backward"
    ]
    return ahead, behind


def singles():
    """Every port with one bug, in one of two dtypes and by hand or by autograd."""
    for cell in GATES:
        ahead, behind = bugs(cell)
        for k, bug in enumerate(ahead + behind):
            yield Port(cell, bug, dtype=("float32", "float64")[k % 2])
        for k, bug in enumerate(ahead):
            yield Autograd(cell, bug, dtype=("float64", "float32")[k % 2])


def pairs(n, seed):
    """Ports with two bugs, drawn from a seed: any two, by hand; forward ones by autograd."""
    rng = random.Random(seed)
    for k in range(n):
        cell = rng.choice([c for c in GATES if c != "rnn"])
        ahead, behind = bugs(cell)
        dtype = ("float32", "float64")[k % 2]
        if k % 5 == 4:
            yield Autograd(cell, *rng.sample(ahead, 2), dtype=dtype)
        else:
            yield Port(cell, *rng.sample(ahead + behind, 2), dtype=dtype)


def right():
    """Ports without a bug."""
    for cell, made, dtype in itertools.product(GATES, (Port, Autograd), ("float32", "float64")):
        yield made(cell, dtype=dtype)


def marked(port, seed=0, **options):
    """The mark of one diagnosis, and it: ``named`` if the planted bugs are among the explanations,
    ``equal`` if something that has no more faults reproduces every number, ``larger`` if something
    that has more does, ``cut`` or ``none``."""
    found = diagnose(subject(port), seed=seed, **options)
    wanted = set(port.bugs)
    if any(set(e.names) == wanted for e in found.explanations):
        return "named", found
    if found.explanations:
        return "equal" if len(found.explanations[0].names) <= len(wanted) else "larger", found
    return "cut" if re.search("was cut", found.says) else "none", found


def main():
    options = argparse.ArgumentParser()
    options.add_argument("--pairs", type=int, default=120)
    options.add_argument("--every", type=int, default=1, help="take every k-th single")
    options.add_argument("--seed", type=int, default=0)
    chosen = options.parse_args()
    for cell in GATES:
        print(cell, "bugs: {} forward, {} backward".format(*map(len, bugs(cell))))
    some = itertools.islice(singles(), chosen.seed % chosen.every, None, chosen.every)
    for what, ports in (
        ("right", right()),
        ("single", some),
        ("pair", pairs(chosen.pairs, chosen.seed)),
    ):
        marks, seconds = {}, []
        for port in ports:
            start = time.process_time()
            mark, found = marked(port, chosen.seed, budget_s=60)
            seconds.append(time.process_time() - start)
            marks[mark] = marks.get(mark, 0) + 1
            if mark != "named" and what != "right":
                names = [" + ".join(e.names) for e in found.explanations]
                print(
                    f"  {mark} {seconds[-1]:.1f} s  {port.name}: {names or found.says}", flush=True
                )
        total = len(seconds)
        if not total:
            continue
        seconds.sort()
        share = {k: f"{v}/{total} = {v / total:.1%}" for k, v in sorted(marks.items())}
        print(
            f"{what}: {share}; CPU seconds median {seconds[total // 2]:.2f}, 95 % {seconds[int(0.95 * total)]:.2f}, most {seconds[-1]:.2f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
