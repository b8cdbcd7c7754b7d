"""
Augmented views of every picture with what the teachers say of them, made once and kept on disk as raw arrays. Light and
colour vary here and not in training, so that the network imitates what the teachers said of the very same pixels.
"""

import json
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
import torch

import data
import teachers
from attacks import attack
from augment import jitter, shade, vary
from crops import crops
from settings import (
    ATTACKS_PER_LIVE,
    BACKGROUND_VIEWS,
    EMBEDDING,
    INPUTS,
    JOBS,
    MAX_VIEWS,
    MIN_VIEWS,
    SEED,
    TEACHER_INPUTS,
    VIEWS_PER_GROUP,
    WORK,
)

BOXES_PER_PICTURE = 2  # a picture is varied once and cut twice; both counts of the plan are multiples of it


@dataclass
class Views:
    inputs: dict[str, np.ndarray]  # uint8, views × side × side × 3, RGB; mapped, not read
    picture: np.ndarray  # index into the list of pictures
    kind: np.ndarray  # 0 live, 1 spoof, 2 synthetic attack
    teachers: np.ndarray  # views × teachers: spoof logit, NaN where there is none
    embeddings: np.ndarray  # views × teachers × values, float16; mapped
    maps: np.ndarray  # views × teachers × channels × side × side, float16; mapped


def prepare(pictures: list[data.Picture]) -> Views:
    """Makes what is missing, in chunks that survive an interruption, and opens all of it."""
    folder = WORK / "views"
    folder.mkdir(parents=True, exist_ok=True)
    plan = _plan(pictures)
    chunks = [plan[i : i + 32] for i in range(0, len(plan), 32)]
    total = sum(count + attacks for _, count, attacks in plan)
    missing = [i for i in range(len(chunks)) if not (folder / f"{i}.npz").exists()]
    if (folder / "ready.json").exists():
        missing = []
    if missing:
        with get_context("fork").Pool(JOBS, initializer=_start, initargs=(pictures,)) as pool:
            for done, _ in enumerate(pool.imap_unordered(_make, [(folder, i, chunks[i]) for i in missing]), 1):
                if done % 5 == 0 or done == len(missing):
                    print(f"views: {len(chunks) - len(missing) + done} of {len(chunks)} chunks", flush=True)
    return _open(folder, len(chunks), total)


def _plan(pictures: list[data.Picture]) -> list[tuple[int, int, int]]:
    """(picture, views, synthetic attacks): small sources get more views of each picture."""
    groups: dict[tuple[str, bool], int] = {}
    for picture in pictures:
        groups[picture.source, picture.spoof] = groups.get((picture.source, picture.spoof), 0) + 1
    plan = []
    for i, picture in enumerate(pictures):
        wanted = 2 * round(VIEWS_PER_GROUP / groups[picture.source, picture.spoof] / 2)
        wanted = BACKGROUND_VIEWS if picture.background else min(MAX_VIEWS, max(MIN_VIEWS, wanted))
        plan.append((i, wanted, ATTACKS_PER_LIVE if not picture.spoof and picture.frame != "crop" else 0))
    return plan


def _start(pictures: list[data.Picture]) -> None:
    global _pictures, _teachers, _scenes
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    _pictures, _teachers = pictures, teachers.load()
    fold = data.folds(pictures)
    # Other scenes come from live whole frames of the same fold: what is held out is then held out whole.
    _scenes = {}
    for picture in pictures:
        if not picture.spoof and picture.frame == "full":
            _scenes.setdefault(None if picture.background else fold[picture.source], []).append(picture)
    _scenes = [_scenes.get(None if p.background else fold[p.source], [p]) for p in pictures]


def _make(job: tuple[Path, int, list[tuple[int, int, int]]]) -> None:
    folder, number, chunk = job
    rng = np.random.default_rng([SEED, number])
    rows: list[tuple[int, int, dict[str, np.ndarray]]] = []
    for index, views, attacks in chunk:
        picture, scenes = _pictures[index], _scenes[index]
        for n in range(0, views + attacks, BOXES_PER_PICTURE):
            other = scenes[rng.integers(len(scenes))]
            pixels, box = picture.pixels, picture.boxes[rng.integers(len(picture.boxes))]
            kind = 2 if n >= views else int(picture.spoof)
            if kind == 2:
                pixels, box, _ = attack((pixels, box), (other.pixels, other.boxes[0]), rng)
            pixels, box = vary(pixels, box, other.pixels, rng)
            for _ in range(BOXES_PER_PICTURE):
                rows.append((index, kind, shade(crops(pixels, jitter(box, rng)), rng)))
            other.__dict__.pop("pixels", None)
        picture.__dict__.pop("pixels", None)
    inputs = {name: np.stack([row[2][name] for row in rows]) for name in INPUTS}
    kinds = np.array([row[1] for row in rows], np.int8)
    saved = {"picture": np.array([row[0] for row in rows], np.int32), "kind": kinds, **opinions(inputs, _teachers)}
    scratch = folder / f"{number}.partial.npz"
    np.savez(scratch, **saved, **inputs)
    scratch.rename(folder / f"{number}.npz")


def opinions(inputs: dict[str, np.ndarray], them: dict[str, teachers.Teacher]) -> dict[str, np.ndarray]:
    """What the teachers say: spoof logits, embeddings and maps; NaN without teachers."""
    count = len(next(iter(inputs.values())))
    out = {
        "teachers": np.full((count, len(TEACHER_INPUTS)), np.nan, np.float32),
        "embeddings": np.zeros((count, len(TEACHER_INPUTS), EMBEDDING), np.float16),
        "maps": np.zeros((count, len(TEACHER_INPUTS), *teachers.MAP), np.float16),
    }
    for i, (file, name) in enumerate(TEACHER_INPUTS.items()):
        if file in them:
            out["teachers"][:, i], out["embeddings"][:, i], out["maps"][:, i] = them[file](inputs[name])
    return out


def _open(folder: Path, chunks: int, total: int) -> Views:
    """The chunks, put together once into one raw file per array that can be mapped."""
    ready = folder / "ready.json"
    mapped = [*INPUTS, "embeddings", "maps"]
    if not ready.exists():
        small: dict[str, list[np.ndarray]] = {name: [] for name in ("picture", "kind", "teachers")}
        large: dict[str, np.ndarray] = {}
        at = 0
        for i in range(chunks):
            with np.load(folder / f"{i}.npz") as chunk:
                count = len(chunk["kind"])
                for name in mapped:
                    values = chunk[name]
                    if i == 0:
                        shape = (total, *values.shape[1:])
                        large[name] = np.lib.format.open_memmap(folder / f"{name}.npy", "w+", values.dtype, shape)
                    large[name][at : at + count] = values
                for name, parts in small.items():
                    parts.append(chunk[name])
                at += count
        for array in large.values():
            array.flush()
        np.savez(folder / "about.npz", **{name: np.concatenate(parts) for name, parts in small.items()})
        ready.write_text(json.dumps({"views": total}))
        for i in range(chunks):
            (folder / f"{i}.npz").unlink()
    about = np.load(folder / "about.npz")
    arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in mapped}
    inputs = {name: arrays[name] for name in INPUTS}
    return Views(inputs, about["picture"], about["kind"], about["teachers"], arrays["embeddings"], arrays["maps"])
