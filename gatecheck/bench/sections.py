"""Names of the sections of a benchmark."""

from __future__ import annotations

KERNELS, AUDITS = "kernels", "audits"

SECTION_MODULES = {"gradcheck": "gatecheck.bench.gradchecks", "decay": "gatecheck.bench.decays"}
"""Modules of the sections that run in a process with a number of threads.

Audits are processes themselves.
"""

SECTIONS = (KERNELS, "gradcheck", AUDITS, "decay")
