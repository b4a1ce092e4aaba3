"""PyTorch's CUDA kernels instead of cuDNN's."""

import torch

torch.backends.cudnn.enabled = False


class LSTM(torch.nn.LSTM):
    """torch.nn.LSTM without cuDNN."""


class GRU(torch.nn.GRU):
    """torch.nn.GRU without cuDNN."""
