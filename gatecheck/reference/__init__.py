"""Reference cells as named NumPy equations.

They are slow, general, and derived independently of the kernels.
"""

from __future__ import annotations

from gatecheck.reference.equations import Equations as Equations
from gatecheck.reference.network import Tape as Tape
from gatecheck.reference.network import network_backward as network_backward
from gatecheck.reference.network import network_forward as network_forward
from gatecheck.reference.network import run as run
from gatecheck.reference.options import equations as equations
from gatecheck.reference.options import masked as masked
from gatecheck.reference.run import Results as Results
from gatecheck.reference.run import backward as backward
from gatecheck.reference.run import forward as forward
from gatecheck.reference.run import outputs as outputs
