"""Concrete inputs of a cell, and Hypothesis strategies that draw them."""

from gatecheck.cases.case import COTANGENTS as COTANGENTS
from gatecheck.cases.case import REGIMES as REGIMES
from gatecheck.cases.case import SCHEMA as SCHEMA
from gatecheck.cases.case import STATES as STATES
from gatecheck.cases.case import Case as Case
from gatecheck.cases.case import draw as draw
from gatecheck.cases.case import optional_arrays as optional_arrays

__all__ = [
    "COTANGENTS",
    "REGIMES",
    "SCHEMA",
    "STATES",
    "Case",
    "draw",
    "optional",
]
