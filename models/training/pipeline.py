"""
The whole training, `npm run train`: boxes, views, cross-validation, the final network, its export, figures and card.
`npm run train -- --seeds` adds two trainings on group train alone that share neither seed nor trunks.

Every step leaves files in WORK and is skipped when they are there: an interrupted run goes on where it stopped.
"""

import hashlib
import json
import os
import subprocess
import sys
import time
from typing import NamedTuple

import numpy as np

import card
import data
import evaluate
import teachers
import views
from export import export
from settings import (
    APART_STEPS,
    DATA,
    FOLDS,
    IMITATION,
    INPUTS,
    JOBS,
    ROOT,
    SEED,
    STEPS,
    TEACHERS,
    TOGETHER_STEPS,
    WORK,
)

MODEL = "own_liveness"
HERE = ROOT / "models/training"


def main() -> None:
    WORK.mkdir(parents=True, exist_ok=True)
    if not (WORK / "boxes.json").exists():
        say("Boxes of the product's detectors")
        env = {**os.environ, "MODELS_DIR": str(TEACHERS)}
        script = str(HERE / "boxes.ts")
        subprocess.run(["npx", "tsx", script, str(DATA), str(WORK / "boxes.json")], check=True, cwd=ROOT, env=env)
    pictures = data.load()
    sources = data.folds(pictures)
    say(f"{len(pictures)} pictures of {len(sources)} sources in {DATA}")
    refuse_leftovers(pictures)
    validated = any(p.group == "val" for p in pictures)
    seeds = [SEED, SEED + 1] if validated and "--seeds" in sys.argv else []
    views.prepare(pictures)
    evaluate.clean(pictures)
    if teachers.FILES and IMITATION and any(picture.background for picture in pictures):
        say("Each trunk imitates its public classifier on the background sources: from there all trainings start")
        run([Job("imitate.py", name, s, f"trunk-{name}-{s}.pt") for s in seeds or [SEED] for name in INPUTS])
    say("Cross-validation and final training")
    trainings = [(f"fold{i}", SEED) for i in range(FOLDS)] + [("final", SEED)] + [("train", seed) for seed in seeds]
    run([Job("train.py", name, seed, f"{name}-{seed}.scores.npy") for name, seed in trainings])
    say("Figures")
    held_out = out_of_fold(pictures)
    threshold = choose_threshold(pictures, held_out[:, 1])
    figures = {
        "pictures": {"live": sum(not p.spoof for p in pictures), "spoof": sum(p.spoof for p in pictures)},
        "background": sorted({p.source for p in pictures if p.background}),
        "folds": [sorted(s for s, fold in sources.items() if fold == i) for i in range(FOLDS)],
        "threshold": {"logit": threshold, "probability": float(1 / (1 + np.exp(-threshold)))},
        "heldOut": {
            "blazeface": figures_of(pictures, held_out[:, 1], threshold),
            "yunet": figures_of(pictures, held_out[:, 0], threshold),
        },
        "seeds": {str(seed): validation(pictures, [f"train-{seed}"], threshold) for seed in seeds},
        "seedsTogether": validation(pictures, [f"train-{seed}" for seed in seeds], threshold) if seeds else None,
        # The shipped network has seen these pictures: to recognise the file by, not to judge it by.
        "shipped": validation(pictures, [f"final-{SEED}"], threshold) if validated else None,
    }
    judged = [(p, logits) for p, logits in zip(pictures, held_out, strict=True) if not p.background]
    logits = {p.path: {"yunet": float(a), "blazeface": float(b)} for p, (a, b) in judged}
    (WORK / "out-of-fold.json").write_text(json.dumps(logits))
    entry = export(WORK / f"final-{SEED}.pt", ROOT / "models" / f"{MODEL}.onnx")
    (HERE / "figures.json").write_text(json.dumps(rounded(figures), indent=1) + "\n")
    card.write(rounded(figures))
    enter(entry, figures["threshold"]["probability"])
    say(f"models/{MODEL}.onnx, models/manifest.json, models/README.md and models/training/figures.json are written")
    say("Sets that count this classifier among others need their operating point measured again: operating_point.py")


def refuse_leftovers(pictures: list[data.Picture]) -> None:
    """Views and networks of other settings or pictures would be taken for finished work."""
    settings = (HERE / "settings.py").read_text()
    told = [settings, APART_STEPS, TOGETHER_STEPS, STEPS, IMITATION, SEED, teachers.FILES, [p.path for p in pictures]]
    now = hashlib.sha256(json.dumps(told).encode()).hexdigest()
    stamp = WORK / "stamp"
    if stamp.exists() and stamp.read_text() != now:
        raise SystemExit(f"Settings or pictures have changed: delete {WORK} or name another folder in TRAIN_DIR")
    stamp.write_text(now)


class Job(NamedTuple):
    script: str
    name: str
    seed: int
    leaves: str  # the file in WORK that is there when the job is done


def run(jobs: list[Job]) -> None:
    """JOBS at a time, one thread each: two of one thread are done sooner than one after the other of two."""
    waiting, running = [job for job in jobs if not (WORK / job.leaves).exists()], []
    env = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        while waiting or running:
            while waiting and len(running) < JOBS:
                job = waiting.pop(0)
                command = [sys.executable, str(HERE / job.script), job.name, str(job.seed)]
                running.append(subprocess.Popen(command, env=env))
            time.sleep(0.5)
            for process in [p for p in running if p.poll() is not None]:
                running.remove(process)
                if process.returncode:
                    raise SystemExit(f"A training ended with {process.returncode}; start again to go on")
    finally:
        for process in running:
            process.terminate()


def out_of_fold(pictures: list[data.Picture], seed: int = SEED) -> np.ndarray:
    """Logits (pictures × boxes) of every picture by the network that never saw its source."""
    logits = np.full((len(pictures), 2), np.nan)
    for fold in range(FOLDS):
        scores = evaluate.scores(f"fold{fold}-{seed}", pictures)
        wanted = ~np.isnan(scores[:, 0])
        logits[wanted] = scores[wanted]
    return logits


def choose_threshold(pictures: list[data.Picture], logits: np.ndarray) -> float:
    """
    The logit that becomes 0.15: where, out of fold, the mean over sources of APCER equals that of BPCER, each source
    of whole frames counted once.
    """
    groups: dict[bool, dict[str, list[float]]] = {True: {}, False: {}}
    for picture, logit in zip(pictures, logits, strict=True):
        if picture.frame == "full" and not np.isnan(logit):
            groups[picture.spoof].setdefault(picture.source, []).append(logit)
    live, spoof = ([np.array(g) for g in groups[kind].values() if len(g) >= evaluate.ENOUGH] for kind in (False, True))
    candidates = np.linspace(-4, 4, 801)
    missed = np.array([np.mean([(g < t).mean() for g in spoof]) for t in candidates])
    refused = np.array([np.mean([(g >= t).mean() for g in live]) for t in candidates])
    return float(candidates[np.argmin(np.abs(missed - refused))])


def figures_of(pictures: list[data.Picture], logits: np.ndarray, threshold: float) -> dict:
    rows = evaluate.per_source(pictures, logits, threshold)
    return {"sources": rows, **{frame: evaluate.summary(rows, frame) for frame in ("whole", "crop", "mixed")}}


def validation(pictures: list[data.Picture], names: list[str], threshold: float) -> dict:
    """Group val by the mean of some networks, BlazeFace's boxes: whole frames pooled, and the means over sources."""
    wanted = np.array([i for i, p in enumerate(pictures) if p.group == "val"])
    logits = np.full(len(pictures), np.nan)
    logits[wanted] = np.mean([evaluate.scores(name, pictures)[wanted, 1] for name in names], axis=0)
    whole = [i for i in wanted if pictures[i].frame in ("full", "portrait")]
    live = np.array([logits[i] for i in whole if not pictures[i].spoof])
    spoof = np.array([logits[i] for i in whole if pictures[i].spoof])
    rows = evaluate.per_source(pictures, logits, threshold)
    return {
        "auc": evaluate.auc(live, spoof),
        "apcer": float((spoof < threshold).mean()),
        "bpcer": float((live >= threshold).mean()),
        "whole": evaluate.summary(rows, "whole"),
        "crop": evaluate.summary(rows, "crop"),
    }


def enter(entry: dict, operating_point: float) -> None:
    """The classifier's file and the operating point of set `own` in the manifest; its layout stays where it can."""
    path = ROOT / "models/manifest.json"
    text = path.read_text()
    manifest = json.loads(text)
    known, own = manifest["models"].get(MODEL, {}), manifest["sets"].get("own")
    calibration = [[0, 0], [round(operating_point, 4), 0.15], [1, 1]]
    for old, new in [(known.get(key), entry[key]) for key in ("sha256", "bytes")]:
        text = text.replace(json.dumps(old), json.dumps(new))
    if own:
        at = text.index('"own": {', text.index('"sets": {'))
        text = text[:at] + text[at:].replace(json.dumps(own["calibration"]), json.dumps(calibration), 1)
        own |= {"classifiers": {MODEL: 1}, "calibration": calibration}
    described = "Trained here from random initialisation on the face with its surroundings at two scales"
    head = {key: entry.pop(key) for key in ("kind", "file", "sha256", "bytes")}
    origin = {"description": described, "upstream": {"training": "models/training"}, "licence": "see models/README.md"}
    manifest["models"][MODEL] = {**head, **origin, **entry}
    if json.loads(text) != manifest:
        text = json.dumps(manifest, indent=2, ensure_ascii=False) + "\n"
    path.write_text(text)


def rounded(value):
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(inner) for key, inner in value.items()}
    return [rounded(inner) for inner in value] if isinstance(value, list) else value


def say(text: str) -> None:
    print(f"== {text}", flush=True)


if __name__ == "__main__":
    main()
