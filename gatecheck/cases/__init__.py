"""Concrete inputs of a cell, and Hypothesis strategies that draw them."""

from gatecheck.cases.case import COTANGENTS as COTANGENTS
from gatecheck.cases.case import SCHEMA as SCHEMA
from gatecheck.cases.case import STATES as STATES
from gatecheck.cases.case import Case as Case
from gatecheck.cases.case import optional_arrays as optional_arrays
from gatecheck.cases.drawing import REGIMES as REGIMES
from gatecheck.cases.drawing import draw as draw

__all__ = [
    "COTANGENTS",
    "REGIMES",
    "SCHEMA",
    "STATES",
    "Case",
    "draw",
    "optional_arrays",
]
