"""What is proven for all inputs at once: of a cell's equations over boxes of real numbers, of activations on every float."""

from __future__ import annotations

from gatecheck.proofs.activations import activation_proofs as activation_proofs
from gatecheck.proofs.proof import Proof as Proof
from gatecheck.proofs.ranges import proofs as proofs
from gatecheck.proofs.ranges import prove as prove
