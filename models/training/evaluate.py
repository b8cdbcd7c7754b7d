"""Scores of unaltered pictures, and what they are worth: AUC, APCER, BPCER (ISO/IEC 30107-3) with 95 % intervals."""

from pathlib import Path

import numpy as np
import torch

import data
from crops import crops
from network import Network
from settings import INPUTS, WORK


def clean(pictures: list[data.Picture]) -> dict[str, np.ndarray]:
    """Every picture's inputs by each of its boxes, kept on disk: uint8, pictures × boxes × side × side × 3."""
    files = {name: WORK / f"clean-{name}.npy" for name in INPUTS}
    if not all(file.exists() for file in files.values()):
        rows = []
        for picture in pictures:
            pixels = picture.pixels
            picture.__dict__.pop("pixels")
            boxes = (*picture.boxes, *picture.boxes)[:2]  # a single detector's box stands for both
            rows.append([crops(pixels, box) for box in boxes])
        for name, file in files.items():
            np.save(file, np.stack([np.stack([cut[name] for cut in row]) for row in rows]))
    return {name: np.load(file, mmap_mode="r") for name, file in files.items()}


def scores(name: str, pictures: list[data.Picture]) -> np.ndarray:
    """
    Spoof logits (pictures × boxes) by the training called `name`, kept on disk: of the sources it held out, otherwise
    of group val; NaN for all others.
    """
    file = WORK / f"{name}.scores.npy"
    if not file.exists():
        wanted = _judged_by(name, pictures)
        out = np.full((len(pictures), 2), np.nan, np.float32)
        if len(wanted):  # with fewer sources than folds some fold holds out nothing
            out[wanted] = _run(WORK / f"{name}.pt", pictures, wanted)
        np.save(file, out)
    return np.load(file)


def _judged_by(name: str, pictures: list[data.Picture]) -> np.ndarray:
    if not name.startswith("fold"):
        return np.array([i for i, p in enumerate(pictures) if p.group == "val"], int)
    fold, sources = int(name[4:].split("-")[0]), data.folds(pictures)
    return np.array([i for i, p in enumerate(pictures) if not p.background and sources[p.source] == fold], int)


def _run(weights: Path, pictures: list[data.Picture], wanted: np.ndarray) -> np.ndarray:
    network = Network()
    network.load_state_dict(torch.load(weights, weights_only=True))
    network.eval().to(memory_format=torch.channels_last)
    inputs = clean(pictures)
    out = []
    with torch.inference_mode():
        for i in range(0, len(wanted), 32):
            some = wanted[i : i + 32]
            batch = {}
            for name in INPUTS:
                pixels = torch.from_numpy(inputs[name][some]).flatten(0, 1).permute(0, 3, 1, 2)
                batch[name] = pixels.float().contiguous(memory_format=torch.channels_last)
            out.append(network(batch).spoof.unflatten(0, (len(some), 2)).numpy())
    return np.concatenate(out)


ENOUGH = 5  # pictures of each label for a source to count in a mean, as in `npm run evaluate`


def auc(live: np.ndarray, spoof: np.ndarray) -> float:
    """Share of pairs in which the attack scores higher; ties count half."""
    live = np.sort(live)
    below = np.searchsorted(live, spoof, "left") + np.searchsorted(live, spoof, "right")
    return float(below.sum() / 2 / len(live) / len(spoof))


def auc_interval(live: np.ndarray, spoof: np.ndarray, rounds: int = 500) -> list[float]:
    """95 % by bootstrap over pictures; pictures of one film are alike, so the truth is wider."""
    rng = np.random.default_rng(0)
    values = [auc(rng.choice(live, len(live)), rng.choice(spoof, len(spoof))) for _ in range(rounds)]
    return [float(v) for v in np.quantile(values, (0.025, 0.975))]


def mean_interval(values: list[float], rounds: int = 2000) -> list[float]:
    """95 % of the mean over sources by bootstrap over sources."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (rounds, len(values))).mean(axis=1)
    return [float(v) for v in np.quantile(means, (0.025, 0.975))]


def rate(wrong: int, count: int) -> dict:
    """A share with its 95 % Wilson interval."""
    if count == 0:
        return {"wrong": 0, "of": 0}
    z, p = 1.96, wrong / count
    centre = (p + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(p * (1 - p) / count + z * z / (4 * count * count)) / (1 + z * z / count)
    return {"wrong": wrong, "of": count, "rate": p, "interval": [max(0.0, centre - half), min(1.0, centre + half)]}


def per_source(pictures: list[data.Picture], logits: np.ndarray, threshold: float) -> list[dict]:
    """One row per source and framing: AUC, BPCER, and APCER per kind of attack, at the logit `threshold`."""
    groups: dict[tuple[str, str], list[int]] = {}
    for i, picture in enumerate(pictures):
        if not np.isnan(logits[i]):
            frame = "whole" if picture.frame in ("full", "portrait") else picture.frame
            groups.setdefault((frame, picture.source), []).append(i)
    rows = []
    for (frame, source), members in sorted(groups.items(), key=lambda item: (item[0][0] != "whole", item[0])):
        live = np.array([logits[i] for i in members if not pictures[i].spoof])
        spoof = np.array([logits[i] for i in members if pictures[i].spoof])
        row: dict = {"source": source, "frame": frame, "live": len(live), "spoof": len(spoof)}
        if len(live) and len(spoof):
            row |= {"auc": auc(live, spoof), "aucInterval": auc_interval(live, spoof)}
        row["bpcer"] = rate(int((live >= threshold).sum()), len(live))
        row["apcer"] = {}
        for attack in sorted({pictures[i].attack or "unknown" for i in members if pictures[i].spoof}):
            scores = np.array(
                [logits[i] for i in members if pictures[i].spoof and (pictures[i].attack or "unknown") == attack]
            )
            row["apcer"][attack] = rate(int((scores < threshold).sum()), len(scores))
        rows.append(row)
    return rows


def summary(rows: list[dict], frame: str) -> dict:
    """Means over the sources of one framing, and all pictures by kind of attack."""
    rows = [row for row in rows if row["frame"] == frame]
    judged = [row for row in rows if min(row["live"], row["spoof"]) >= ENOUGH]
    out: dict = {"sources": len(judged)}
    if judged:
        aucs = [row["auc"] for row in judged]
        out |= {"auc": float(np.mean(aucs)), "aucInterval": mean_interval(aucs)}
        for name, picked in (("bpcer", lambda row: row["bpcer"]), ("apcer", _all_attacks)):
            values = [picked(row)["rate"] for row in judged]
            out[name] = {"mean": float(np.mean(values)), "interval": mean_interval(values)}
    out["livePictures"] = rate(sum(row["bpcer"]["wrong"] for row in rows), sum(row["bpcer"]["of"] for row in rows))
    attacks = sorted({attack for row in rows for attack in row["apcer"]})
    out["attacks"] = {
        attack: rate(*(sum(row["apcer"].get(attack, {}).get(key, 0) for row in rows) for key in ("wrong", "of")))
        for attack in attacks
    }
    return out


def _all_attacks(row: dict) -> dict:
    return rate(*(sum(attack[key] for attack in row["apcer"].values()) for key in ("wrong", "of")))
