"""Parameter conventions of frameworks for the same cells."""

from __future__ import annotations

from gatecheck.conventions.convention import Convention as Convention
from gatecheck.conventions.known import CONVENTIONS as CONVENTIONS
from gatecheck.conventions.known import as_convention as as_convention
from gatecheck.conventions.known import convert as convert
from gatecheck.conventions.layout import Layout as Layout
