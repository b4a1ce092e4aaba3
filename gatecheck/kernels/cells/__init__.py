"""The loops over time of each cell, one module a cell; and batched calls of them."""
