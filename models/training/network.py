"""The classifier: one small residual trunk per input, fused late. Normalisation is part of the graph."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from settings import EMBEDDING, INPUTS, TEACHER_INPUTS, WIDTHS


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; stride 2 halves the side."""

    def __init__(self, inside: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, outside, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(outside)
        self.second = nn.Conv2d(outside, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.shrink = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(y + self.shortcut(self.shrink(x)))


class Trunk(nn.Module):
    """
    Picture → map of 5×5 places. Patches of 2×2 pixels become 12 channels first; dense convolutions on few positions are
    what a CPU does fast (depthwise ones, as the teachers have, cost several times as much here).
    """

    def __init__(self) -> None:
        super().__init__()
        first, second, third, last = WIDTHS
        self.patches = nn.PixelUnshuffle(2)
        self.stem = nn.Conv2d(12, first, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.blocks = nn.Sequential(
            Block(first, second, 2), Block(second, second, 1), Block(second, third, 2), Block(third, third, 1),
            Block(third, last, 2),
        )  # fmt: skip

    def forward(self, pixels: Tensor) -> Tensor:
        return self.blocks(F.relu(self.norm(self.stem(self.patches((pixels - 127.5) / 64)))))


class Opinion(NamedTuple):
    """Spoof logits, and what is held against the teachers in training."""

    fused: Tensor  # batch
    alone: Tensor  # batch × inputs
    imitated: Tensor  # batch × teachers: their logits, halved
    embeddings: Tensor  # batch × teachers × values
    maps: Tensor  # batch × teachers × channels × 5 × 5


class Network(nn.Module):
    """
    Heads: `fused` judges from all features; each trunk judges for itself, so that none is left unused; `imitated`
    foretells the teachers' logits from the trunk that sees what they see, by way of their embedding: a weighted sum
    over the places, as in the teachers, since where an edge lies tells a bezel from a door frame.
    """

    def __init__(self) -> None:
        super().__init__()
        last = WIDTHS[-1]
        self.trunks = nn.ModuleDict({name: Trunk() for name in INPUTS})
        self.alone = nn.ModuleDict({name: nn.Linear(2 * last, 1) for name in INPUTS})
        self.places = nn.ModuleDict({name: nn.Conv2d(last, 128, 1) for name in TEACHER_INPUTS.values()})
        self.summed = nn.ModuleDict({name: nn.Linear(25 * last, EMBEDDING) for name in TEACHER_INPUTS.values()})
        self.imitated = nn.ModuleDict({name: nn.Linear(EMBEDDING, 1) for name in TEACHER_INPUTS.values()})
        total = len(INPUTS) * 2 * last + len(TEACHER_INPUTS) * EMBEDDING
        self.fused = nn.Sequential(nn.Dropout(0.3), nn.Linear(total, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, inputs: dict[str, Tensor]) -> Opinion:
        """RGB 0–255, batch × 3 × side × side."""
        maps = {name: trunk(inputs[name]) for name, trunk in self.trunks.items()}
        pooled = {name: torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1) for name, x in maps.items()}
        embeddings = {name: layer(maps[name].flatten(1)) for name, layer in self.summed.items()}
        return Opinion(
            self.fused(torch.cat([*pooled.values(), *embeddings.values()], 1))[:, 0],
            torch.cat([self.alone[name](pooled[name]) for name in INPUTS], 1),
            torch.cat([self.imitated[name](embeddings[name]) for name in TEACHER_INPUTS.values()], 1),
            torch.stack([embeddings[name] for name in TEACHER_INPUTS.values()], 1),
            torch.stack([self.places[name](maps[name]) for name in TEACHER_INPUTS.values()], 1),
        )
