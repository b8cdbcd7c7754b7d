"""The classifier: one small residual trunk per input, fused late. Normalisation is part of the graph."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from settings import INPUTS, TEACHER_INPUTS

WIDTHS = {"scene": (48, 80, 128), "context": (48, 80, 128)}


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
    Picture → features. Patches of 4×4 pixels become 48 channels first, so that no layer works at more than a quarter
    of the side and none of the detail is lost: dense convolutions on few positions are what a CPU does fast (depthwise
    ones cost several times as much here).
    """

    def __init__(self, widths: tuple[int, int, int]) -> None:
        super().__init__()
        low, middle, high = widths
        self.patches = nn.PixelUnshuffle(4)
        self.stem = nn.Conv2d(48, low, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(low)
        self.blocks = nn.Sequential(Block(low, middle, 2), Block(middle, middle, 1), Block(middle, high, 2))
        self.features = high * 2

    def forward(self, pixels: Tensor) -> Tensor:
        x = self.blocks(F.relu(self.norm(self.stem(self.patches((pixels - 127.5) / 64)))))
        return torch.cat([x.mean((2, 3)), x.amax((2, 3))], 1)


class Network(nn.Module):
    """
    Heads: `fused` judges from all features; each trunk judges for itself, so that none is left unused; `imitated`
    foretells the teachers' logits, halved, from the trunk that sees what they see.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict({name: Trunk(WIDTHS[name]) for name in INPUTS})
        self.alone = nn.ModuleDict({name: nn.Linear(trunk.features, 1) for name, trunk in self.trunks.items()})
        self.imitated = nn.ModuleList(nn.Linear(self.trunks[name].features, 1) for name in TEACHER_INPUTS.values())
        total = sum(trunk.features for trunk in self.trunks.values())
        self.fused = nn.Sequential(nn.Dropout(0.3), nn.Linear(total, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))

    def forward(self, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """
        RGB 0–255, batch × 3 × side × side → spoof logits: fused (batch), alone (batch × inputs), imitated (batch ×
        teachers).
        """
        features = {name: trunk(inputs[name]) for name, trunk in self.trunks.items()}
        alone = torch.cat([self.alone[name](features[name]) for name in features], 1)
        teachers = zip(self.imitated, TEACHER_INPUTS.values(), strict=True)
        imitated = torch.cat([head(features[name]) for head, name in teachers], 1)
        return self.fused(torch.cat(list(features.values()), 1))[:, 0], alone, imitated
