"""What a benchmark is made of, by name."""

from __future__ import annotations

KERNELS, AUDITS = "kernels", "audits"

ISOLATED = {"gradcheck": "gatecheck.bench.gradchecks", "decay": "gatecheck.bench.decays"}
"""The modules of those whose rows are measured in a process with a number of threads; audits are
processes themselves.
"""

SECTIONS = (KERNELS, "gradcheck", AUDITS, "decay")
