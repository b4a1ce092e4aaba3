"""Thorough audits of correct code: each finding would be a false alarm.

As many run at a time as there are cores. Run as ``python reports/alarms/alarms.py``.
"""

import sys

from gatecheck import audit
from gatecheck.auditing.parallel import map_jobs
from gatecheck.auditing.selection import select_properties
from gatecheck.targets.loading import load

OURS = ("gru", "gru-before", "lstm", "rnn", "rnn-relu", "rnn-sigmoid")
TORCH = (("LSTM", "lstm"), ("LSTMCell", "lstm"), ("GRU", "gru"), ("GRUCell", "gru"))
TORCH += tuple((name, cell) for name in ("RNN", "RNNCell") for cell in ("rnn", "rnn-relu"))
TARGETS = [("torch", f"torch.nn:{name}", cell) for name, cell in TORCH] + [
    ("builtin", f"builtin:{cell}", cell) for cell in OURS
]
SEEDS = (100, 101)
# If properties are named, the proofs do not run, which take minutes and have no alarms.
ALL_PROPERTIES = [c.name for c in select_properties()]


def run_audit(job):
    """Return the result of one audit."""
    (_, target, cell), seed = job
    return audit(load(target, cell=cell), profile="thorough", only=ALL_PROPERTIES, seed=seed)


def print_verdict(job, result):
    """Print the verdict of a finished job."""
    print(job, result.verdict, file=sys.stderr)


if __name__ == "__main__":
    jobs = [(target, seed) for seed in SEEDS for target in TARGETS]
    results = map_jobs(run_audit, jobs, done=print_verdict)
    print(
        "gatecheck audit TARGET --cell CELL --profile thorough --seed SEED, float32 and float64\n"
    )
    print(f" {'target':<20}  {'cell':<13}  seed  {'verdict':<12}  checks  worst error/budget")
    for ((_, target, cell), seed), r in zip(jobs, results, strict=True):
        worst = max(p.worst_ratio or 0 for p in r.properties)
        print(
            f" {target:<20}  {cell:<13}  {seed:>4}  {r.verdict:<12}  {r.n_checks:>6,}  {worst:.2f}"
        )
    for package in ("builtin", "torch"):
        theirs = [
            r for ((whose, _, _), _), r in zip(jobs, results, strict=True) if whose == package
        ]
        checks, found = sum(r.n_checks for r in theirs), sum(not r.ok for r in theirs)
        print(f" {package}: {checks:,} checks, {found} audits with a finding")
