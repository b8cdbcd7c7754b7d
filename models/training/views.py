"""Augmented views of every picture with the teachers' opinions, made once and kept on disk as raw arrays."""

import json
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

import data
from attacks import attack
from augment import vary
from crops import crops
from settings import (
    ATTACKS_PER_LIVE,
    INPUTS,
    JOBS,
    MAX_VIEWS,
    MIN_VIEWS,
    SEED,
    TEACHER_INPUTS,
    TEACHERS,
    VIEWS_PER_GROUP,
    WORK,
)

FILES = [file for file in TEACHER_INPUTS if (TEACHERS / file).exists()]


@dataclass
class Views:
    inputs: dict[str, np.ndarray]  # uint8, views × side × side × 3, RGB; mapped, not read
    picture: np.ndarray  # index into the list of pictures
    kind: np.ndarray  # 0 live, 1 spoof, 2 synthetic attack
    teachers: np.ndarray  # views × teachers: spoof logit, NaN where there is none


def prepare(pictures: list[data.Picture]) -> Views:
    """Makes what is missing, in chunks that survive an interruption, and opens all of it."""
    folder = WORK / "views"
    folder.mkdir(parents=True, exist_ok=True)
    plan = _plan(pictures)
    chunks = [plan[i : i + 32] for i in range(0, len(plan), 32)]
    total = sum(count + attacks for _, count, attacks in plan)
    missing = [i for i in range(len(chunks)) if not (folder / f"{i}.npz").exists()]
    if missing and not (folder / "ready.json").exists():
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
        wanted = round(VIEWS_PER_GROUP / groups[picture.source, picture.spoof])
        attacks = ATTACKS_PER_LIVE if not picture.spoof and picture.frame != "crop" else 0
        plan.append((i, min(MAX_VIEWS, max(MIN_VIEWS, wanted)), attacks))
    return plan


def _start(pictures: list[data.Picture]) -> None:
    global _pictures, _teachers, _scenes
    import onnxruntime

    cv2.setNumThreads(1)
    _pictures = pictures
    fold = data.folds(pictures)
    # Backgrounds come from live whole frames of the same fold: what is held out is then held out whole.
    _scenes = [[p for p in pictures if not p.spoof and p.frame == "full" and fold[p.source] == fold[q]] for q in fold]
    _scenes = dict(zip(fold, _scenes, strict=True))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    _teachers = [
        onnxruntime.InferenceSession(TEACHERS / file, options, providers=["CPUExecutionProvider"]) for file in FILES
    ]


def _make(job: tuple[Path, int, list[tuple[int, int, int]]]) -> None:
    folder, number, chunk = job
    rng = np.random.default_rng([SEED, number])
    rows: list[tuple[int, int, dict[str, np.ndarray]]] = []
    for index, views, attacks in chunk:
        picture = _pictures[index]
        scenes = _scenes[picture.source]
        for n in range(views + attacks):
            other = scenes[rng.integers(len(scenes))] if scenes else picture
            pixels, box = picture.pixels, picture.boxes[rng.integers(len(picture.boxes))]
            kind = int(picture.spoof)
            if n >= views:
                pixels, box, _ = attack((pixels, box), (other.pixels, other.boxes[0]), rng)
                kind = 2
            pixels, box = vary(pixels, box, other.pixels, rng)
            rows.append((index, kind, crops(pixels, box)))
        picture.__dict__.pop("pixels", None)
    inputs = {name: np.stack([row[2][name] for row in rows]) for name in INPUTS}
    kinds = np.array([row[1] for row in rows], np.int8)
    saved = {"picture": np.array([row[0] for row in rows], np.int32), "kind": kinds, "teachers": _opinions(inputs)}
    scratch = folder / f"{number}.partial.npz"
    np.savez(scratch, **saved, **inputs)
    scratch.rename(folder / f"{number}.npz")


def _opinions(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """The teachers' spoof logits; NaN without teachers."""
    count = len(next(iter(inputs.values())))
    logits = np.full((count, len(TEACHER_INPUTS)), np.nan, np.float32)
    for session, file in zip(_teachers, FILES, strict=True):
        seen = inputs[TEACHER_INPUTS[file]][..., ::-1].transpose(0, 3, 1, 2).astype(np.float32)
        for i in range(0, count, 4):  # small batches stay in the cache
            out = session.run(["logits"], {"input": np.ascontiguousarray(seen[i : i + 4])})[0]
            spoof = np.logaddexp(out[:, 0], out[:, 2]) - out[:, 1]
            logits[i : i + 4, list(TEACHER_INPUTS).index(file)] = spoof
    return logits


def _open(folder: Path, chunks: int, total: int) -> Views:
    """The chunks, put together once into one raw file per input that can be mapped."""
    ready = folder / "ready.json"
    if not ready.exists():
        parts = {name: [] for name in ("picture", "kind", "teachers")}
        shapes = {name: (total, size, size, 3) for name, (_, size) in INPUTS.items()}
        mapped = {n: np.lib.format.open_memmap(folder / f"{n}.npy", "w+", np.uint8, s) for n, s in shapes.items()}
        at = 0
        for i in range(chunks):
            with np.load(folder / f"{i}.npz") as chunk:
                count = len(chunk["kind"])
                for name, array in mapped.items():
                    array[at : at + count] = chunk[name]
                for name, values in parts.items():
                    values.append(chunk[name])
                at += count
        for array in mapped.values():
            array.flush()
        np.savez(folder / "about.npz", **{name: np.concatenate(values) for name, values in parts.items()})
        ready.write_text(json.dumps({"views": total}))
    about = np.load(folder / "about.npz")
    inputs = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in INPUTS}
    return Views(inputs, about["picture"], about["kind"], about["teachers"])
