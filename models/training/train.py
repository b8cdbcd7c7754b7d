"""
One training: `python train.py NAME SEED`; NAME is foldN (held out), train (group train only) or final (all). It starts
from trunks that imitate their teachers (imitate.py, same SEED), or at random where there are none.
"""

import sys
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import data
import evaluate
import loop
import views
from network import Network, Opinion, Scale
from settings import (
    BACKGROUND,
    BACKGROUND_WEIGHT,
    BATCH,
    CROP_WEIGHT,
    GREY,
    IMITATION,
    INPUTS,
    LABEL_SMOOTHING,
    PEAK,
    PEAK_AFTER,
    PEAK_JUDGE,
    SHARES,
    STEPS,
    STEPS_WITHOUT_TEACHERS,
    TEACHER_INPUTS,
    WORK,
)
from teachers import FILES, MAPS

LAST_MAP = len(MAPS) - 1
LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # of R, G, B: ITU-R BT.601, as JPEG has it


class Batch(NamedTuple):
    inputs: dict[str, Tensor]
    label: Tensor  # 1 for an attack
    teachers: Tensor  # logits, NaN without teachers
    embeddings: Tensor
    maps: Tensor
    mirrored: Tensor  # bool


def train(name: str, seed: int) -> None:
    """Trains to WORK/NAME-SEED.pt."""
    if (WORK / f"{name}-{seed}.pt").exists():
        return
    loop.start(seed)
    network = Network()
    trunks = {i: WORK / f"trunk-{i}-{seed}.pt" for i in INPUTS}
    ready = all(file.exists() for file in trunks.values())
    if ready:
        network.start_from({i: torch.load(file, weights_only=True) for i, file in trunks.items()})
    pictures = data.load()
    seen = views.prepare(pictures)
    if not ready:
        learn_scales(network, seen)
    draw = Sampler(pictures, seen, name)
    imitating = IMITATION > 0 and len(FILES) > 0

    def costs(step: int) -> tuple[Tensor, dict[str, Tensor]]:
        batch = draw(np.random.default_rng([seed, step]))
        with torch.autocast("cpu", torch.bfloat16):
            opinion = network(batch.inputs, reach=not imitating)
        parts = loss(opinion, batch, [network.trunks[name].scale for name in TEACHER_INPUTS.values()])
        return parts["labels"] + IMITATION * sum(part for name, part in parts.items() if name != "labels"), parts

    if ready:
        loop.fit(name, seed, network, STEPS, peak_after, costs)
    else:
        loop.fit(name, seed, network, STEPS_WITHOUT_TEACHERS, lambda _: PEAK, costs)


def peak_after(parameter: str) -> float:
    fast = parameter.startswith(("judge_of_embeddings", "judge_by_labels", "last_stages"))
    return PEAK_JUDGE if fast else PEAK_AFTER


def learn_scales(network: Network, seen: views.Views) -> None:
    """Of the teachers' features in some views, which are enough for that."""
    some = slice(None, None, max(1, len(seen.kind) // 2000))
    for i, name in enumerate(TEACHER_INPUTS.values()):
        embeddings, maps = (torch.from_numpy(x[some, i].astype(np.float32)) for x in (seen.embeddings, seen.maps))
        network.trunks[name].scale.learn(embeddings, {LAST_MAP: maps})


def loss(opinion: Opinion, batch: Batch, scales: list[Scale]) -> dict[str, Tensor]:
    """
    Cross-entropy to the label; a robust distance to the teachers' logits; mean squares to their embeddings and last
    maps, of which the latter does not hold in the mirror.
    """
    wanted = batch.label * (1 - 2 * LABEL_SMOOTHING) + LABEL_SMOOTHING
    judgements = opinion.judgements.float()
    parts = {"labels": F.binary_cross_entropy_with_logits(judgements, wanted[:, None].expand_as(judgements))}
    if not batch.teachers.isnan().any():
        imitated = [opinion.imitated[name] for name in TEACHER_INPUTS.values()]
        logits = torch.stack([i.logit.float() for i in imitated], 1)
        embeddings = torch.stack([i.embedding.float() for i in imitated], 1)
        maps = torch.stack([i.maps[-1].float() for i in imitated], 1)[~batch.mirrored]
        parts["logits"] = F.smooth_l1_loss(logits, batch.teachers.clamp(-10, 10) / 2)
        felt = [scale.standard_embedding(batch.embeddings[:, i]) for i, scale in enumerate(scales)]
        seen = [scale.standard_map(LAST_MAP, batch.maps[:, i]) for i, scale in enumerate(scales)]
        parts["embeddings"] = F.mse_loss(embeddings, torch.stack(felt, 1))
        parts["maps"] = F.mse_loss(maps, torch.stack(seen, 1)[~batch.mirrored])
    return parts


class Sampler:
    """Draws batches: label first, then source, person, view, so that no source or person outweighs another."""

    def __init__(self, pictures: list[data.Picture], seen: views.Views, name: str) -> None:
        fold = data.folds(pictures)
        held_out = int(name[4:]) if name.startswith("fold") else None
        self.seen = seen
        # pools[kind]: per source its share of draws and, per person, the views.
        people: list[dict[str, dict[str, list[int]]]] = [{}, {}, {}]
        for view, (index, kind) in enumerate(zip(seen.picture, seen.kind, strict=True)):
            picture = pictures[index]
            if name == "train" and picture.group != "train":
                continue
            if held_out is not None and not picture.background and fold[picture.source] == held_out:
                continue
            key = f"{picture.source} {'crop' if picture.frame == 'crop' else 'frame'}"
            people[kind].setdefault(key, {}).setdefault(picture.person, []).append(view)
        self.pools, shares = [], []
        for pool, share in zip(people, SHARES, strict=True):
            shares.append(share if pool else 0.0)
            weights = np.array([_weight(key, persons, pictures, seen) for key, persons in pool.items()])
            self.pools.append(([list(map(np.array, p.values())) for p in pool.values()], weights / weights.sum()))
        self.shares = np.array(shares) / sum(shares)

    def __call__(self, rng: np.random.Generator) -> Batch:
        kinds = rng.choice(3, BATCH, p=self.shares)
        chosen = np.array([self._one(kind, rng) for kind in kinds])
        mirrored = rng.random(BATCH) < 0.5
        # The teachers saw them in colour, and take grey ones for attacks: what is imitated stays what they said then.
        grey = rng.random(BATCH) < GREY
        inputs = {}
        for name in INPUTS:
            pixels = self.seen.inputs[name][chosen].astype(np.float32)
            pixels[grey] = np.round(pixels[grey] @ LUMA)[..., None]
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            inputs[name] = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return Batch(
            inputs,
            torch.from_numpy((kinds > 0).astype(np.float32)),
            torch.from_numpy(self.seen.teachers[chosen]),
            torch.from_numpy(self.seen.embeddings[chosen].astype(np.float32)),
            torch.from_numpy(self.seen.maps[chosen].astype(np.float32)),
            torch.from_numpy(mirrored),
        )

    def _one(self, kind: int, rng: np.random.Generator) -> int:
        sources, weights = self.pools[kind]
        persons = sources[rng.choice(len(sources), p=weights)]
        return int(rng.choice(persons[rng.integers(len(persons))]))


def _weight(key: str, persons: dict[str, list[int]], pictures: list[data.Picture], seen: views.Views) -> float:
    """A source counts once; less when it has few pictures, more when it has many people, little when tight crops."""
    count = len({int(seen.picture[view]) for views_ in persons.values() for view in views_})
    weight = min(1.0, count / 20) ** 0.5 * max(1.0, min(4.0, len(persons) ** 0.3))
    weight *= BACKGROUND_WEIGHT if key.split()[0] in BACKGROUND else 1.0
    return weight * (CROP_WEIGHT if key.endswith("crop") else 1.0)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
    evaluate.scores(f"{sys.argv[1]}-{sys.argv[2]}", data.load())
