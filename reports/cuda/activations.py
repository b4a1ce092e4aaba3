"""Accuracy of tanh and sigmoid in PyTorch's recurrent layers on a GPU.

It is measured with cuDNN and without, from one step of one unit.
"""

import numpy as np
import torch

X = np.concatenate(
    [
        np.linspace(-30, 30, 400001),
        np.geomspace(1e-10, 30, 100000),
        -np.geomspace(1e-10, 30, 100000),
    ]
)
X = np.unique(X.astype(np.float32))


def outputs(name):
    """Return the outputs of one step for each x, and the exact ones."""
    layer = getattr(torch.nn, name)(1, 1).cuda()
    x = torch.from_numpy(X[None, :, None]).cuda()
    one = torch.ones((1, len(X), 1)).cuda()
    sigmoid = 1 / (1 + np.exp(-X.astype(float)))
    with torch.no_grad():
        for weights in layer.parameters():
            weights.zero_()
        if name == "RNN":
            layer.weight_ih_l0.fill_(1.0)
            return layer(x)[0], np.tanh(X.astype(float))
        if name == "GRU":  # n = 0, so that h' = z h
            layer.weight_ih_l0[1] = 1.0
            return layer(x, one)[0], sigmoid
        layer.weight_ih_l0[3] = 1.0  # f = 1 and c = 40, so that h' = o
        layer.bias_ih_l0[1] = 100.0
        return layer(x, (0 * one, 40 * one))[0], sigmoid


def main():
    """Print a line for each layer."""
    print(torch.__version__, torch.backends.cudnn.version(), torch.cuda.get_device_name())
    for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
        backend.allow_tf32 = False
    for name in ("RNN", "LSTM", "GRU"):
        for cudnn in (True, False):
            torch.backends.cudnn.enabled = cudnn
            result, exact = outputs(name)
            y = result.cpu().numpy().ravel()
            ulps = np.abs(y.astype(float) - exact) / np.spacing(np.abs(exact).astype(np.float32))
            above = int((np.abs(y) > 1).sum())
            print(
                f"{name} {cudnn=}: at most {np.abs(y - exact).max():.3g}, "
                f"{ulps.max():.4g} ulps; above 1: {above} of {len(y)}"
            )


if __name__ == "__main__":
    main()
