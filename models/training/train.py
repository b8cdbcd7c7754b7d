"""
One training: `python train.py NAME SEED`; NAME is base (background sources of group train, from random initialisation),
or, from where base ended: foldN (held out), train (group train only) or final (all).
"""

import math
import os
import sys
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import data
import evaluate
import views
from network import Network, Opinion
from settings import (
    BACKGROUND,
    BACKGROUND_WEIGHT,
    BASE_STEPS,
    BATCH,
    CROP_WEIGHT,
    EMA,
    IMITATION,
    INPUTS,
    LABEL_SMOOTHING,
    LABELS_IN_BASE,
    PEAK,
    PEAK_AFTER_BASE,
    SEED,
    SHARES,
    SHARES_IN_BASE,
    STEPS,
    STEPS_WITHOUT_BASE,
    WARM_UP,
    WEIGHT_DECAY,
    WORK,
)

CHECKPOINT_EVERY = 200


class Batch(NamedTuple):
    inputs: dict[str, Tensor]
    label: Tensor  # 1 for an attack
    teachers: Tensor  # logits, NaN without teachers
    embeddings: Tensor  # standardised
    maps: Tensor  # standardised
    mirrored: Tensor  # bool


def train(name: str, seed: int) -> None:
    """Trains to WORK/NAME-SEED.pt; goes on from the last checkpoint after an interruption, with the same outcome."""
    target = WORK / f"{name}-{seed}.pt"
    if target.exists():
        return
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(seed)
    pictures = data.load()
    seen = views.prepare(pictures)
    draw = Sampler(pictures, seen, name)
    network = Network()
    base = WORK / f"base-{SEED}.pt"
    based = name != "base" and base.exists()
    if based:
        network.load_state_dict(torch.load(base, weights_only=True))
    network = network.to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA), use_buffers=True
    )
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0}], fused=True
    )
    checkpoint, first = WORK / f"{name}-{seed}.checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    steps = BASE_STEPS if name == "base" else STEPS if based else STEPS_WITHOUT_BASE
    labels = LABELS_IN_BASE if name == "base" else 1.0
    start, mean = time.monotonic(), np.zeros(4)
    network.train()
    for step in range(first, steps):
        # All chance depends on seed and step, so that a resumed run sees what an uninterrupted one would have.
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, PEAK_AFTER_BASE if based else PEAK)
        batch = draw(np.random.default_rng([seed, step]))
        with torch.autocast("cpu", torch.bfloat16):
            opinion = network(batch.inputs)
        parts = loss(opinion, batch)
        cost = labels * parts[0] + IMITATION * sum(parts[1:])
        optimizer.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        average.update_parameters(network)
        now = np.array([part.item() for part in parts])
        mean = now if step == first else 0.95 * mean + 0.05 * now
        if (step + 1) % 40 == 0:
            pace = (time.monotonic() - start) / (step + 1 - first)
            print(
                f"{name}-{seed}: step {step + 1} of {steps}, labels {mean[0]:.3f}, teachers' logits {mean[1]:.3f}, "
                f"embeddings {mean[2]:.3f}, maps {mean[3]:.3f}, {pace * (steps - step - 1):.0f} s left",
                flush=True,
            )
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < steps:
            state = {"network": network.state_dict(), "average": average.state_dict()}
            _save({**state, "optimizer": optimizer.state_dict(), "step": step + 1}, checkpoint)
    _save(average.module.state_dict(), target)
    checkpoint.unlink(missing_ok=True)


def rate(step: int, steps: int, peak: float) -> float:
    """The learning rate: a cosine to zero, with a warm-up."""
    return peak * (0.5 + 0.5 * math.cos(math.pi * step / steps)) * min(1, (step + 1) / WARM_UP)


def loss(opinion: Opinion, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """
    Cross-entropy to the label for the fused and the trunks' own heads; a robust distance to the teachers' logits; mean
    squares to their embeddings and maps, of which the latter does not hold in the mirror.
    """
    wanted = batch.label * (1 - 2 * LABEL_SMOOTHING) + LABEL_SMOOTHING
    alone = opinion.alone.float()
    judged = F.binary_cross_entropy_with_logits(opinion.fused.float(), wanted)
    judged = judged + 0.2 * F.binary_cross_entropy_with_logits(alone, wanted[:, None].expand_as(alone)) * alone.shape[1]
    known = ~batch.teachers.isnan()
    if IMITATION == 0 or not known.any():
        nothing = torch.zeros(())
        return judged, nothing, nothing, nothing
    logits = F.smooth_l1_loss(opinion.imitated.float()[known], batch.teachers[known].clamp(-10, 10) / 2)
    embeddings = F.mse_loss(opinion.embeddings.float()[known], batch.embeddings[known])
    known = known & ~batch.mirrored[:, None]
    maps = F.mse_loss(opinion.maps.float()[known], batch.maps[known])
    return judged, logits, embeddings, maps


class Sampler:
    """Draws batches: label first, then source, person, view, so that no source or person outweighs another."""

    def __init__(self, pictures: list[data.Picture], seen: views.Views, name: str) -> None:
        fold = data.folds(pictures)
        held_out = int(name[4:]) if name.startswith("fold") else None
        self.seen = seen
        # Some views are enough to know the scale of the teachers' features.
        some = slice(None, None, max(1, len(seen.kind) // 2000))
        self.embeddings, self.maps = (_scale(seen.embeddings[some], 0), _scale(seen.maps[some], (0, 3, 4)))
        # pools[kind]: per source its share of draws and, per person, the views.
        people: list[dict[str, dict[str, list[int]]]] = [{}, {}, {}]
        for view, (index, kind) in enumerate(zip(seen.picture, seen.kind, strict=True)):
            picture = pictures[index]
            if name == "base" and not picture.background:
                continue
            if name == "train" and picture.group != "train":
                continue
            if held_out is not None and not picture.background and fold[picture.source] == held_out:
                continue
            key = f"{picture.source} {'crop' if picture.frame == 'crop' else 'frame'}"
            people[kind].setdefault(key, {}).setdefault(picture.person, []).append(view)
        self.pools, shares = [], []
        for pool, share in zip(people, SHARES_IN_BASE if name == "base" else SHARES, strict=True):
            shares.append(share if pool else 0.0)
            weights = np.array([_weight(key, persons, pictures, seen) for key, persons in pool.items()])
            self.pools.append(([list(map(np.array, p.values())) for p in pool.values()], weights / weights.sum()))
        self.shares = np.array(shares) / sum(shares)

    def __call__(self, rng: np.random.Generator) -> Batch:
        kinds = rng.choice(3, BATCH, p=self.shares)
        chosen = np.array([self._one(kind, rng) for kind in kinds])
        mirrored = rng.random(BATCH) < 0.5
        inputs = {}
        for name in INPUTS:
            pixels = self.seen.inputs[name][chosen].astype(np.float32)
            pixels[mirrored] = pixels[mirrored, :, ::-1]
            inputs[name] = torch.from_numpy(pixels).permute(0, 3, 1, 2)
        return Batch(
            inputs,
            torch.from_numpy((kinds > 0).astype(np.float32)),
            torch.from_numpy(self.seen.teachers[chosen]),
            _standard(self.seen.embeddings[chosen], self.embeddings),
            _standard(self.seen.maps[chosen], self.maps),
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


def _scale(values: np.ndarray, axes: int | tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    values = values.astype(np.float32)
    return values.mean(axes, keepdims=True), values.std(axes, keepdims=True) + 1e-3


def _standard(values: np.ndarray, scale: tuple[np.ndarray, np.ndarray]) -> Tensor:
    return torch.from_numpy((values.astype(np.float32) - scale[0]) / scale[1])


def _save(state: dict, path: Path) -> None:
    scratch = path.with_suffix(".partial")
    torch.save(state, scratch)
    scratch.replace(path)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
    if sys.argv[1] != "base":
        evaluate.scores(f"{sys.argv[1]}-{sys.argv[2]}", data.load())
