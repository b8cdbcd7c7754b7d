"""The classifier: a residual trunk per input, each after a public classifier, judged together; normalises by itself."""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from settings import BETWEEN, BLOCKS, EMBEDDING, INPUTS, MAP_DROPOUT, WEIGHING, WIDTHS
from teachers import MAPS


class Weigh(nn.Sequential):
    """Squeeze and excitation (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__(nn.Linear(channels, 32), nn.ReLU(), nn.Linear(32, channels), nn.Sigmoid())

    def forward(self, x: Tensor) -> Tensor:
        return x * super().forward(x.mean((2, 3)))[:, :, None, None]


class Block(nn.Module):
    """
    Two 3×3 convolutions beside a shortcut; stride 2 halves the side. `between`: channels between the two; `weighs`:
    channels count by what their means over all places say.
    """

    def __init__(self, inside: int, between: int, outside: int, stride: int, weighs: bool = False) -> None:
        super().__init__()
        self.first = nn.Conv2d(inside, between, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(between)
        self.second = nn.Conv2d(between, outside, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(outside)
        self.shortcut = nn.Identity() if inside == outside else nn.Conv2d(inside, outside, 1, bias=False)
        self.shrink = nn.AvgPool2d(2) if stride == 2 else nn.Identity()
        self.weigh = Weigh(outside) if weighs else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.weigh(self.second_norm(self.second(F.relu(self.first_norm(self.first(x))))))
        return F.relu(y + self.shortcut(self.shrink(x)))


class Imitated(NamedTuple):
    halfway: Tensor  # batch × channels × 10 × 10: the map that the last stage starts from
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


def stage(i: int, weighs: bool) -> nn.Sequential:
    """Halves the side. `weighs`: its last block does, as in the teachers that do so."""
    inside, outside, blocks = WIDTHS[i], WIDTHS[i + 1], BLOCKS[i]
    more = [Block(outside, outside, outside, 1, weighs and left == 0) for left in reversed(range(blocks - 1))]
    return nn.Sequential(Block(inside, BETWEEN[i], outside, 2), *more)


class Trunk(nn.Module):
    """
    Picture → what the teacher of this input would say of it, and how it would come to it: three stages, each of which
    ends where one of the teacher's does and foretells its map. Patches of 2×2 pixels become 12 channels first; dense
    convolutions on few positions are what a CPU does fast (depthwise ones, as the teachers have, cost several times as
    much here).
    """

    def __init__(self, name: str) -> None:
        """`name` of its input."""
        super().__init__()
        first, *widths = WIDTHS
        self.patches = nn.PixelUnshuffle(2)
        self.stem = nn.Conv2d(12, first, 3, 1, 1, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.stages = nn.ModuleList(stage(i, name in WEIGHING) for i in range(len(BLOCKS)))
        self.maps = nn.ModuleList(
            nn.Conv2d(width, channels, 1) for width, (channels, *_) in zip(widths, MAPS, strict=True)
        )
        self.embed = Embed()
        self.imitated = nn.Linear(EMBEDDING, 1)
        self.scale = Scale()

    def forward(self, pixels: Tensor, apart: bool = False) -> Imitated:
        """RGB 0–255, batch × 3 × side × side. `apart`: no stage learns for the sake of a later one."""
        x = F.relu(self.norm(self.stem(self.patches((pixels - 127.5) / 64))))
        maps, halfway = [], x
        for one, foretell in zip(self.stages, self.maps, strict=True):
            halfway, x = x, one(x)
            maps.append(foretell(x))
            x = x.detach() if apart else x
        embedding = self.embed(x)
        return Imitated(halfway, x, self.imitated(embedding)[:, 0], embedding, maps)


class Opinion(NamedTuple):
    judgements: Tensor  # batch × judges: logits, a spoof's are high
    imitated: dict[str, Imitated]  # by input

    @property
    def spoof(self) -> Tensor:
        """batch: logits"""
        return self.judgements.mean(1)


class Network(nn.Module):
    """
    The trunks imitate; three judges, of which the mean counts, learn from labels what that is worth. The first sees the
    embeddings alone, which carry over best to sources never seen; the second sees the trunks' features as well, in
    which there is more that the teachers do not tell apart; the third has last stages of its own. Those are all that
    labels teach below the judges: few sources have them, and what tells live from spoof in those is not what carries
    over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.trunks = nn.ModuleDict({name: Trunk(name) for name in INPUTS})
        self.last_stages = nn.ModuleDict({name: stage(len(BLOCKS) - 1, name in WEIGHING) for name in INPUTS})
        self.drop_maps = nn.Dropout2d(MAP_DROPOUT)
        self.judge_of_embeddings = judge(len(INPUTS) * EMBEDDING)
        self.judge_of_all = judge(len(INPUTS) * (EMBEDDING + 2 * WIDTHS[-1]))
        self.judge_by_labels = judge(len(INPUTS) * 2 * WIDTHS[-1])

    def start_from(self, trunks: dict[str, dict]) -> None:
        """Weights of trunks that imitate, by input; the last stages start as theirs."""
        for name, weights in trunks.items():
            self.trunks[name].load_state_dict(weights)
            self.last_stages[name].load_state_dict(self.trunks[name].stages[-1].state_dict())

    def forward(self, inputs: dict[str, Tensor], reach: bool = False) -> Opinion:
        """RGB 0–255, batch × 3 × side × side. `reach`: labels teach the trunks as well, which imitate nobody."""

        def labelled(x: Tensor) -> Tensor:
            return x if reach else x.detach()

        imitated = {name: trunk(inputs[name]) for name, trunk in self.trunks.items()}
        embeddings = labelled(torch.cat([i.embedding for i in imitated.values()], 1))
        features = labelled(pooled([i.features for i in imitated.values()]))
        own = [self.last_stages[name](self.drop_maps(labelled(i.halfway))) for name, i in imitated.items()]
        judgements = [
            self.judge_of_embeddings(embeddings),
            self.judge_of_all(torch.cat([embeddings, features], 1)),
            self.judge_by_labels(pooled(own)),
        ]
        return Opinion(torch.cat(judgements, 1), imitated)


def pooled(maps: list[Tensor]) -> Tensor:
    """Means and maxima of their channels."""
    return torch.cat([part for x in maps for part in (x.mean((2, 3)), x.amax((2, 3)))], 1)


def judge(values: int) -> nn.Sequential:
    return nn.Sequential(nn.Dropout(0.3), nn.Linear(values, 64), nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
