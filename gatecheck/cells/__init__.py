"""Cells as data: kinds, options, parameter shapes, gate blocks, initial weights."""

from gatecheck.cells.names import CELLS as CELLS
from gatecheck.cells.names import NETWORKS as NETWORKS
from gatecheck.cells.names import VARIANTS as VARIANTS
from gatecheck.cells.names import as_cell as as_cell
from gatecheck.cells.names import require_plain_cell as require_plain_cell
from gatecheck.cells.spec import GRU as GRU
from gatecheck.cells.spec import LSTM as LSTM
from gatecheck.cells.spec import RNN as RNN
from gatecheck.cells.spec import TRAITS as TRAITS
from gatecheck.cells.spec import Cell as Cell
from gatecheck.cells.spec import Params as Params
from gatecheck.cells.spec import Sizes as Sizes

__all__ = [
    "CELLS",
    "GRU",
    "LSTM",
    "NETWORKS",
    "RNN",
    "TRAITS",
    "VARIANTS",
    "Cell",
    "Params",
    "Sizes",
    "as_cell",
    "require_plain_cell",
]
