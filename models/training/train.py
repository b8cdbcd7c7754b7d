"""One training: `python train.py NAME SEED`; NAME is foldN (held out), train (group train only) or final (all)."""

import math
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import data
import evaluate
import views
from network import Network
from settings import (
    BATCH,
    CROP_WEIGHT,
    CYCLES,
    EMA,
    IMITATION,
    INPUTS,
    LABEL_SMOOTHING,
    SHARES,
    STEPS,
    WARM_UP,
    WEIGHT_DECAY,
    WORK,
)

CHECKPOINT_EVERY = 120


def train(name: str, seed: int) -> None:
    """Trains to WORK/NAME-SEED.pt; goes on from the last checkpoint after an interruption, with the same outcome."""
    target = WORK / f"{name}-{seed}.pt"
    if target.exists():
        return
    torch.set_num_threads(1)
    torch.manual_seed(seed)
    pictures = data.load()
    seen = views.prepare(pictures)
    draw = Sampler(pictures, seen, name)
    network = Network().to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA), use_buffers=True
    )
    decayed = [p for p in network.parameters() if p.ndim > 1]
    plain = [p for p in network.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain, "weight_decay": 0}]
    )
    checkpoint, first = WORK / f"{name}-{seed}.checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    start, mean = time.monotonic(), 0.0
    network.train()
    for step in range(first, STEPS):
        # All chance depends on seed and step, so that a resumed run sees what an uninterrupted one would have.
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        inputs, label, teachers = draw(np.random.default_rng([seed, step]))
        with torch.autocast("cpu", torch.bfloat16):
            fused, alone, imitated = network(inputs)
        cost = loss(fused.float(), alone.float(), imitated.float(), label, teachers)
        optimizer.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        average.update_parameters(network)
        mean = cost.item() if step == first else 0.95 * mean + 0.05 * cost.item()
        if (step + 1) % 40 == 0:
            pace = (time.monotonic() - start) / (step + 1 - first)
            print(
                f"{name}-{seed}: step {step + 1} of {STEPS}, loss {mean:.3f}, {pace * (STEPS - step - 1):.0f} s left",
                flush=True,
            )
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < STEPS:
            state = {"network": network.state_dict(), "average": average.state_dict()}
            _save({**state, "optimizer": optimizer.state_dict(), "step": step + 1}, checkpoint)
    _save(average.module.state_dict(), target)
    checkpoint.unlink(missing_ok=True)


def rate(step: int) -> float:
    """The learning rate: cosines of the settings, with a warm-up."""
    first, end, peak = [cycle for cycle in CYCLES if cycle[0] <= step][-1]
    cosine = 0.5 + 0.5 * math.cos(math.pi * (step - first) / (end - first))
    return peak * cosine * min(1, (step + 1) / WARM_UP)


def loss(fused: Tensor, alone: Tensor, imitated: Tensor, label: Tensor, teachers: Tensor) -> Tensor:
    """Cross-entropy to the label for the fused and the trunks' own heads; a robust distance to the teachers' logits."""
    wanted = label * (1 - 2 * LABEL_SMOOTHING) + LABEL_SMOOTHING
    judged = F.binary_cross_entropy_with_logits(fused, wanted)
    judged = judged + 0.2 * F.binary_cross_entropy_with_logits(alone, wanted[:, None].expand_as(alone)) * alone.shape[1]
    known = ~teachers.isnan()
    if IMITATION == 0 or not known.any():
        return judged
    return judged + IMITATION * F.smooth_l1_loss(imitated[known], teachers[known].clamp(-8, 8) / 2)


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
            if fold[picture.source] == held_out or (name.startswith("train") and picture.group != "train"):
                continue
            key = f"{picture.source} {'crop' if picture.frame == 'crop' else 'frame'}"
            people[kind].setdefault(key, {}).setdefault(picture.person, []).append(view)
        self.pools = []
        for pool in people:
            weights = np.array([_weight(key, persons, pictures, seen) for key, persons in pool.items()])
            self.pools.append(([list(map(np.array, p.values())) for p in pool.values()], weights / weights.sum()))

    def __call__(self, rng: np.random.Generator) -> tuple[dict[str, Tensor], Tensor, Tensor]:
        kinds = rng.choice(3, BATCH, p=SHARES)
        chosen = np.array([self._one(kind, rng) for kind in kinds])
        inputs = {name: self.seen.inputs[name][chosen] for name in INPUTS}
        label = torch.from_numpy((kinds > 0).astype(np.float32))
        teachers = torch.from_numpy(self.seen.teachers[chosen])
        return _shade_and_flip(inputs, rng), label, teachers

    def _one(self, kind: int, rng: np.random.Generator) -> int:
        sources, weights = self.pools[kind]
        persons = sources[rng.choice(len(sources), p=weights)]
        return int(rng.choice(persons[rng.integers(len(persons))]))


def _weight(key: str, persons: dict[str, list[int]], pictures: list[data.Picture], seen: views.Views) -> float:
    """A source counts once; less when it has few pictures, more when it has many people, little when tight crops."""
    count = len({int(seen.picture[view]) for views_ in persons.values() for view in views_})
    weight = min(1.0, count / 20) ** 0.5 * max(1.0, min(4.0, len(persons) ** 0.3))
    return weight * (CROP_WEIGHT if key.endswith("crop") else 1.0)


def _shade_and_flip(views_: dict[str, np.ndarray], rng: np.random.Generator) -> dict[str, Tensor]:
    """Alike in all inputs of a sample: mirror image, tone curve, cast and saturation; and a patch left out of some."""
    count = len(next(iter(views_.values())))
    out = {name: np.empty(pixels.shape, np.float32) for name, pixels in views_.items()}
    levels = np.arange(256, dtype=np.float32) / 255
    for i in range(count):
        mirrored, colour = rng.random() < 0.5, 0.0 if rng.random() < 0.06 else rng.uniform(0.5, 1.3)
        mix = (np.eye(3) * colour + (1 - colour) / 3).astype(np.float32)
        gain = rng.uniform(0.65, 1.4) * rng.uniform(0.9, 1.1, 3)
        curve = levels[:, None] ** rng.uniform(0.75, 1.35) * 255 * gain + rng.uniform(-20, 20)
        table = np.clip(curve, 0, 255).astype(np.float32)[None]
        for name, pixels in views_.items():
            view = cv2.transform(cv2.LUT(pixels[i], table), mix)
            out[name][i] = view[:, ::-1] if mirrored else view
            if rng.random() < 0.15:
                side, hole = len(view), len(view) // 4
                top, left = rng.integers(0, side - hole, 2)
                out[name][i, top : top + hole, left : left + hole] = rng.uniform(0, 255)
    return {name: torch.from_numpy(pixels).permute(0, 3, 1, 2) for name, pixels in out.items()}


def _save(state: dict, path: Path) -> None:
    scratch = path.with_suffix(".partial")
    torch.save(state, scratch)
    scratch.replace(path)


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]))
    evaluate.scores(f"{sys.argv[1]}-{sys.argv[2]}", data.load())
