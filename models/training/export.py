"""Weights → ONNX, verified against PyTorch."""

import hashlib
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from network import Network
from settings import INPUTS

OPSET = 17


class Shipped(nn.Module):
    """The network as the product runs it: a logit for live and one for spoof."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, *pixels: Tensor) -> Tensor:
        spoof = self.network(dict(zip(INPUTS, pixels, strict=True))).spoof
        return torch.stack([-spoof / 2, spoof / 2], 1)


def export(weights: Path, target: Path) -> dict:
    """Writes the ONNX file and returns its manifest fields. Raises when ONNX Runtime and PyTorch disagree."""
    network = Network()
    network.load_state_dict(torch.load(weights, weights_only=True))
    shipped = Shipped(network).eval()
    rng = np.random.default_rng(0)
    example = [rng.integers(0, 256, (2, 3, size, size)).astype(np.float32) for _, size in INPUTS.values()]
    torch.onnx.export(
        shipped,
        tuple(map(torch.from_numpy, example)),
        str(target),
        input_names=list(INPUTS),
        output_names=["logits"],
        dynamic_axes={name: {0: "batch"} for name in [*INPUTS, "logits"]},
        opset_version=OPSET,
        dynamo=False,
    )
    onnx.checker.check_model(onnx.load(target), full_check=True)
    session = onnxruntime.InferenceSession(target, providers=["CPUExecutionProvider"])
    for count in (1, 5):
        pixels = [rng.integers(0, 256, (count, *x.shape[1:])).astype(np.float32) for x in example]
        there = session.run(["logits"], dict(zip(INPUTS, pixels, strict=True)))[0]
        with torch.inference_mode():
            here = shipped(*map(torch.from_numpy, pixels)).numpy()
        if not np.allclose(there, here, atol=1e-3):
            raise SystemExit(f"ONNX and PyTorch disagree by {np.abs(there - here).max()}")
    bytes_ = target.read_bytes()
    return {
        "kind": "classifier",
        "file": target.name,
        "sha256": hashlib.sha256(bytes_).hexdigest(),
        "bytes": len(bytes_),
        "inputs": [
            {
                "name": name,
                "channels": "RGB",
                "divideBy": 1,
                "size": size,
                "crop": {"rule": "shifted-window", "factor": factor, "resample": "bilinear"},
            }
            for name, (factor, size) in INPUTS.items()
        ],
        "output": "logits",
        "classes": ["live", "spoof"],
    }
