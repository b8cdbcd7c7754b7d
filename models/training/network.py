"""The classifier: a residual trunk per input, each after a public classifier, judged together; normalises by itself."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from settings import BETWEEN, EMBEDDING, INPUTS, WIDTHS
from teachers import MAPS


class Block(nn.Module):
    """Two 3×3 convolutions beside a shortcut; stride 2 halves the side. `between`: channels between the two."""

    def __init__(self, inside: int, between: int, outside: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, between, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(between)
        self.second = nn.Conv2d(between, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.shrink = nn.AvgPool2d(2) if stride == 2 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.second_norm(self.second(F.relu(self.first_norm(self.first(x)))))
        return F.relu(y + self.shortcut(self.shrink(x)))


class Imitated(NamedTuple):
    features: Tensor  # batch × channels × 5 × 5: the trunk's last map
    logit: Tensor  # batch: the teacher's, halved
    embedding: Tensor  # batch × values: the teacher's, standardised
    maps: list[Tensor]  # as teachers.MAPS: the teacher's, standardised


class Scale(nn.Module):
    """Means and deviations of a teacher's embedding and maps over some views, by which they are standardised."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("embedding", torch.stack([torch.zeros(EMBEDDING), torch.ones(EMBEDDING)]))
        for i, (channels, *_) in enumerate(MAPS):
            shape = (channels, 1, 1)
            self.register_buffer(f"map{i}", torch.stack([torch.zeros(shape), torch.ones(shape)]))

    def learn(self, embeddings: Tensor, maps: dict[int, Tensor]) -> None:
        """`maps` by their index in teachers.MAPS."""
        self.embedding = torch.stack([embeddings.mean(0), embeddings.std(0) + 1e-3])
        for i, x in maps.items():
            mean, deviation = x.mean((0, 2, 3)), x.std((0, 2, 3)) + 1e-3
            setattr(self, f"map{i}", torch.stack([mean, deviation])[..., None, None])

    def standard_embedding(self, embeddings: Tensor) -> Tensor:
        return (embeddings - self.embedding[0]) / self.embedding[1]

    def standard_map(self, i: int, x: Tensor) -> Tensor:
        mean, deviation = getattr(self, f"map{i}")
        return (x - mean) / deviation


class Embed(nn.Sequential):
    """
    The last map → the embedding: widened, then summed over the places with weights of each channel's own, as in the
    teachers, since where an edge lies tells a bezel from a door frame.
    """

    def __init__(self) -> None:
        super().__init__()
        wide = 4 * WIDTHS[-1]
        self.append(nn.Conv2d(WIDTHS[-1], wide, 1, bias=False)).append(nn.BatchNorm2d(wide)).append(nn.ReLU())
        self.append(nn.Conv2d(wide, wide, MAPS[-1][1], groups=wide, bias=False)).append(nn.BatchNorm2d(wide))
        self.append(nn.Flatten()).append(nn.Linear(wide, EMBEDDING))


class Trunk(nn.Module):
    """
    Picture → what the teacher of this input would say of it, and how it would come to it: three stages, each of which
    ends where one of the teacher's does and foretells its map. Patches of 2×2 pixels become 12 channels first; dense
    convolutions on few positions are what a CPU does fast (depthwise ones, as the teachers have, cost several times as
    much here).
    """

    def __init__(self) -> None:
        super().__init__()
        first, *widths = WIDTHS
        self.patches = nn.PixelUnshuffle(2)
        self.stem = nn.Conv2d(12, first, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.stages = nn.ModuleList()
        for inside, between, outside, blocks in zip([first, *widths], BETWEEN, widths, (2, 3, 2), strict=False):
            more = [Block(outside, outside, outside, 1) for _ in range(blocks - 1)]
            self.stages.append(nn.Sequential(Block(inside, between, outside, 2), *more))
        self.maps = nn.ModuleList(
            nn.Conv2d(width, channels, 1) for width, (channels, *_) in zip(widths, MAPS, strict=True)
        )
        self.embed = Embed()
        self.imitated = nn.Linear(EMBEDDING, 1)
        self.scale = Scale()

    def forward(self, pixels: Tensor, apart: bool = False) -> Imitated:
        """RGB 0–255, batch × 3 × side × side. `apart`: no stage learns for the sake of a later one."""
        x = F.relu(self.norm(self.stem(self.patches((pixels - 127.5) / 64))))
        maps = []
        for stage, foretell in zip(self.stages, self.maps, strict=True):
            x = stage(x)
            maps.append(foretell(x))
            x = x.detach() if apart else x
        embedding = self.embed(x)
        return Imitated(x, self.imitated(embedding)[:, 0], embedding, maps)


class Opinion(NamedTuple):
    judgements: Tensor  # batch × judges: logits, a spoof's are high
    imitated: dict[str, Imitated]  # by input

    @property
    def spoof(self) -> Tensor:
        """batch: logits"""
        return self.judgements.mean(1)


class Network(nn.Module):
    """
    The trunks imitate; two judges, of which the mean counts, learn from labels what that is worth. One sees the
    embeddings alone, which carry over best to sources never seen; the other sees the trunks' features as well, in which
    there is more that the teachers do not tell apart. Labels teach the trunks nothing: few sources have them, and what
    tells live from spoof in those is not what carries over to others.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict({name: Trunk() for name in INPUTS})
        self.judge_of_embeddings = judge(len(INPUTS) * EMBEDDING)
        self.judge_of_all = judge(len(INPUTS) * (EMBEDDING + 2 * WIDTHS[-1]))

    def forward(self, inputs: dict[str, Tensor], reach: bool = False) -> Opinion:
        """RGB 0–255, batch × 3 × side × side. `reach`: labels teach the trunks as well, which imitate nobody."""
        imitated = {name: trunk(inputs[name]) for name, trunk in self.trunks.items()}
        embeddings = torch.cat([i.embedding for i in imitated.values()], 1)
        pooled = [part for i in imitated.values() for part in (i.features.mean((2, 3)), i.features.amax((2, 3)))]
        both = embeddings, torch.cat([embeddings, *pooled], 1)
        seen = both if reach else [x.detach() for x in both]
        judges = self.judge_of_embeddings, self.judge_of_all
        return Opinion(torch.cat([one(x) for one, x in zip(judges, seen, strict=True)], 1), imitated)


def judge(values: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.3), nn.Linear(values, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
