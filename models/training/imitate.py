"""
The trunk of one input learns what its public classifier says, on background sources alone: `python imitate.py INPUT
SEED`. First every stage for itself (each from what the one before it gives, without telling it back: together from the
start, the early stages never learn their maps), then all together.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

import data
import loop
import views
from network import Imitated, Scale, Trunk
from settings import (
    APART_STEPS,
    BATCH,
    PEAK,
    PEAK_APART,
    PEAK_TOGETHER,
    TEACHER_INPUTS,
    TEACHERS,
    TOGETHER_STEPS,
    WORK,
)
from teachers import Said, Teacher


def imitate(name: str, seed: int) -> None:
    """Trains to WORK/trunk-INPUT-SEED.pt."""
    if (WORK / f"trunk-{name}-{seed}.pt").exists():
        return
    loop.start(seed)
    trunk = Trunk(name)
    pictures = data.load()
    seen = views.prepare(pictures)
    background = np.array([picture.background for picture in pictures])
    chosen = np.flatnonzero(background[seen.picture])
    teacher = Teacher(TEACHERS / next(file for file, sees in TEACHER_INPUTS.items() if sees == name))

    def draw(rng: np.random.Generator) -> Tensor:
        some = seen.inputs[name][np.sort(rng.choice(chosen, BATCH, replace=len(chosen) < BATCH))].astype(np.float32)
        mirrored = rng.random(BATCH) < 0.5
        some[mirrored] = some[mirrored, :, ::-1]
        return anew(torch.from_numpy(some).permute(0, 3, 1, 2), rng).contiguous(memory_format=torch.channels_last)

    some = [teacher.say(draw(np.random.default_rng([seed, 0, i]))) for i in range(16)]
    maps = {i: torch.cat(parts) for i, parts in enumerate(zip(*(said.maps for said in some), strict=True))}
    trunk.scale.learn(torch.cat([said.embeddings for said in some]), maps)

    def costs(phase: int):
        def of(step: int) -> tuple[Tensor, dict[str, Tensor]]:
            pixels = draw(np.random.default_rng([seed, phase, step]))
            with torch.autocast("cpu", torch.bfloat16):
                imitated = trunk(pixels, apart=phase == 1)
            parts = distances(imitated, teacher.say(pixels), trunk.scale)
            return sum(parts.values()), parts

        return of

    apart = WORK / f"apart-{name}-{seed}.pt"
    if not apart.exists():
        loop.fit(f"apart-{name}", seed, trunk, APART_STEPS, peak_apart, costs(1))
    trunk.load_state_dict(torch.load(apart, weights_only=True))
    loop.fit(f"trunk-{name}", seed, trunk, TOGETHER_STEPS, lambda _: PEAK_TOGETHER, costs(2))
    apart.unlink()


def peak_apart(parameter: str) -> float:
    """Filters before a batch normalisation, which undoes their length, bear more than what nothing normalises."""
    normalised = "stem.weight", "first.weight", "second.weight", "embed.0.weight", "embed.3.weight"
    return PEAK_APART if parameter.endswith(normalised) else PEAK


def anew(pixels: Tensor, rng: np.random.Generator) -> Tensor:
    """
    Half of the views with another tone, half turned, moved and scaled a little: the teacher is asked about the very
    pixels, so that no view comes twice and each is answered for.
    """
    count = len(pixels)

    def half(deviation: float, *shape: int) -> np.ndarray:
        which = rng.random((count, *[1] * len(shape))) < 0.5
        return (which * rng.normal(0, deviation, (count, *shape))).astype(np.float32)

    gain, shift = np.exp(half(0.2, 1, 1, 1) + half(0.06, 3, 1, 1)), half(12, 1, 1, 1)
    toned = (pixels * torch.from_numpy(gain) + torch.from_numpy(shift)).clamp(0, 255)
    angle, scale, move = half(0.05), np.exp(half(0.06)), half(0.05, 2)
    cos, sin = np.cos(angle) * scale, np.sin(angle) * scale
    matrix = np.stack([np.stack([cos, -sin], 1), np.stack([sin, cos], 1)], 1)
    grid = F.affine_grid(torch.from_numpy(np.concatenate([matrix, move[:, :, None]], 2)), toned.shape, False)
    moved = F.grid_sample(toned, grid, padding_mode="reflection", align_corners=False)
    still = torch.from_numpy((angle == 0) & (scale == 1) & (move == 0).all(1))
    return torch.where(still[:, None, None, None], toned, moved)


def distances(imitated: Imitated, said: Said, scale: Scale) -> dict[str, Tensor]:
    """A robust distance to the logits, mean squares to the standardised embeddings and maps."""
    parts = {
        "logits": F.smooth_l1_loss(imitated.logit.float(), said.logits.clamp(-10, 10) / 2),
        "embeddings": F.mse_loss(imitated.embedding.float(), scale.standard_embedding(said.embeddings)),
    }
    for i, (ours, theirs) in enumerate(zip(imitated.maps, said.maps, strict=True)):
        parts[f"maps {theirs.shape[-1]}"] = F.mse_loss(ours.float(), scale.standard_map(i, theirs))
    return parts


if __name__ == "__main__":
    imitate(sys.argv[1], int(sys.argv[2]))
