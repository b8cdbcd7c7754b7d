"""The public classifiers whose opinion is imitated: their ONNX graphs run by PyTorch, thrice as fast in bf16 here."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from onnx import numpy_helper
from torch import Tensor

from settings import TEACHER_INPUTS, TEACHERS

# All of them or none.
FILES = list(TEACHER_INPUTS) if all((TEACHERS / file).exists() for file in TEACHER_INPUTS) else []
# Channels and sides of the maps that are imitated: at the end of each stage of equal side.
MAPS = ((64, 20, 20), (128, 10, 10), (128, 5, 5))
MAP = MAPS[-1]
SHAPING = ("Constant", "Shape", "Gather", "Unsqueeze", "Concat")  # only serve the reshape before the last layers


class Said(NamedTuple):
    logits: Tensor  # views: spoof
    embeddings: Tensor  # views × values
    maps: list[Tensor]  # as MAPS


class Teacher:
    """A MiniFASNet of Silent-Face. Takes RGB; the file wants BGR, 0–255."""

    def __init__(self, path: Path) -> None:
        graph = onnx.load(path).graph
        self.nodes = [node for node in graph.node if node.op_type not in SHAPING]
        self.attributes = [{a.name: onnx.helper.get_attribute_value(a) for a in node.attribute} for node in self.nodes]
        weights = {i.name: torch.from_numpy(numpy_helper.to_array(i).copy()) for i in graph.initializer}
        self.weights = {
            name: w.bfloat16().contiguous(memory_format=torch.channels_last) if w.ndim == 4 else w.bfloat16()
            for name, w in weights.items()
            if w.dtype == torch.float32
        }
        self.input, self.output = graph.input[0].name, graph.output[0].name
        stages = {
            name: [n.output[0] for n in self.nodes if f"/{name}/" in n.output[0]] for name in ("conv_3", "conv_4")
        }
        convolutions = [node for node in self.nodes if node.op_type == "Conv"]
        # The last convolution but one widens the last map, the last sums over the places.
        self.maps = [*(outputs[-1] for outputs in stages.values()), convolutions[-2].input[0]]
        self.embedding = next(node.input[0] for node in reversed(self.nodes) if node.op_type == "MatMul")

    def __call__(self, views: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """uint8, views × side × side × 3 → spoof logits, embeddings and last maps (float32, float16, float16)."""
        said = [self.say(torch.from_numpy(views[i : i + 32]).permute(0, 3, 1, 2)) for i in range(0, len(views), 32)]
        parts = [(part.logits, part.embeddings, part.maps[-1]) for part in said]
        logits, embeddings, maps = (torch.cat(column).numpy() for column in zip(*parts, strict=True))
        return logits, embeddings.astype(np.float16), maps.astype(np.float16)

    @torch.inference_mode()
    def say(self, pixels: Tensor) -> Said:
        """RGB 0–255, views × 3 × side × side."""
        bgr = pixels.flip(1).bfloat16().contiguous(memory_format=torch.channels_last)
        values = {**self.weights, self.input: bgr}
        for node, attributes in zip(self.nodes, self.attributes, strict=True):
            inputs = [values[name] for name in node.input if name in values]
            values[node.output[0]] = OPERATORS[node.op_type](inputs, attributes)
        classes = values[self.output].float()
        spoof = torch.logaddexp(classes[:, 0], classes[:, 2]) - classes[:, 1]
        return Said(spoof, values[self.embedding].float(), [values[name].float() for name in self.maps])


def _prelu(x: Tensor, slope: Tensor) -> Tensor:
    """As a maximum where the slopes allow it, which takes half of the time."""
    return torch.maximum(x, slope[:, None, None] * x) if slope.max() <= 1 else F.prelu(x, slope)


OPERATORS: dict[str, Callable[[list[Tensor], dict], Tensor]] = {
    "Add": lambda x, _: x[0] + x[1],
    "BatchNormalization": lambda x, a: F.batch_norm(x[0], x[3], x[4], x[1], x[2], eps=a["epsilon"]),
    "Conv": lambda x, a: F.conv2d(*x, stride=a["strides"], padding=a["pads"][:2], groups=a["group"]),
    "GlobalAveragePool": lambda x, _: x[0].mean((2, 3), keepdim=True),
    "MatMul": lambda x, _: x[0] @ x[1],
    "Mul": lambda x, _: x[0] * x[1],
    "PRelu": lambda x, _: _prelu(x[0], x[1].flatten()),
    "Relu": lambda x, _: F.relu(x[0]),
    "Reshape": lambda x, _: x[0].flatten(1),
    "Sigmoid": lambda x, _: torch.sigmoid(x[0]),
}


def load() -> dict[str, Teacher]:
    return {file: Teacher(TEACHERS / file) for file in FILES}
