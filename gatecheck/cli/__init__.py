"""Command-line interface.

Exit status: 0 all properties hold, 1 findings or inconclusive, 2 usage error, 3 the target could
not be loaded.
"""

from gatecheck.cli import accuracy as accuracy
from gatecheck.cli import audit as audit
from gatecheck.cli import bench as bench
from gatecheck.cli import calibrate as calibrate
from gatecheck.cli import checkers as checkers
from gatecheck.cli import conventions as conventions
from gatecheck.cli import decay as decay
from gatecheck.cli import explain as explain
from gatecheck.cli import faults as faults
from gatecheck.cli import properties as properties
from gatecheck.cli import prove as prove
from gatecheck.cli import vectors as vectors
from gatecheck.cli.base import main as main
