"""How frameworks spell the same cells."""

from __future__ import annotations

from gatecheck.conventions.convention import Convention as Convention
from gatecheck.conventions.entries import CONVENTIONS as CONVENTIONS
from gatecheck.conventions.entries import as_convention as as_convention
from gatecheck.conventions.entries import convert as convert
