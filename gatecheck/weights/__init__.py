"""Readers of trained networks: arrays of files, and recurrent layers among them."""

from __future__ import annotations

from gatecheck.weights.files import read_arrays as read_arrays
from gatecheck.weights.layers import Layer as Layer
from gatecheck.weights.loading import load as load
from gatecheck.weights.search import find_layers as find_layers
