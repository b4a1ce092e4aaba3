"""What a correct implementation may return for a case: the reference's results and their rounding budget."""

from __future__ import annotations

from functools import lru_cache

from gatecheck.cases import Case
from gatecheck.oracles.rounding import Budget, budget
from gatecheck.reference import Results, equations, run


@lru_cache(maxsize=1024)
def case_budget(case: Case) -> Budget:
    """The budget of a case in its own dtype; equal cases are measured once, whoever is under audit."""
    mathematics = equations(case.cell)
    arrays = case.doubles()
    held = {k: arrays.pop(k) for k in case.params}
    return budget(lambda a: run(mathematics, a), arrays, held, case.dtype.name)


def exact(case: Case) -> Results:
    """The reference's float64 results for a case."""
    return run(equations(case.cell), case.doubles())
