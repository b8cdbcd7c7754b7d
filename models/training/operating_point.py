"""
The operating point of a set that counts our classifier among others, and its table for docs/models.md:

  npm run evaluate -- ../shared/pad --set ensemble --into evaluation
  .venv/bin/python operating_point.py ../../evaluation/evaluation.json   # with TRAIN_DIR as in training

The others' scores are those of the evaluation; ours are replaced by those of the networks that had not seen the source
judged (WORK/out-of-fold.json, written by the training), so pictures that every network saw (settings.BACKGROUND) are
left out. The set's logit is the mean by the weights in the manifest; other weights of ours are tried beside it. Means
are over sources with at least ENOUGH pictures of a kind.
"""

import json
import sys
from pathlib import Path

import numpy as np

from evaluate import ENOUGH, auc
from settings import ROOT, WORK

OURS = "own_liveness"
CANDIDATES = np.linspace(-6, 6, 1201)
Judged = list[tuple[dict, float]]  # a row of the evaluation, the set's logit


def main(file: str) -> None:
    held_out = json.loads((WORK / "out-of-fold.json").read_text())
    evaluation = json.loads(Path(file).read_text())
    sets = json.loads((ROOT / "models/manifest.json").read_text())["sets"]
    weights = sets[evaluation["set"]["name"]]["classifiers"]
    judged = [row for row in evaluation["judged"] if not row["refused"]]
    rows = [row for row in judged if row["path"] in held_out]
    print(f"{len(rows)} pictures, {len(judged) - len(rows)} left out\n")
    logits = [logit(row, held_out, weights) for row in rows]
    whole = [(row, of) for row, of in zip(rows, logits, strict=True) if row["frame"] == "whole"]
    for ours in (0, 0.5, 1, 2, 4, 8, 16, 32):
        groups = by_source([(row, logit(row, held_out, weights | {OURS: ours})) for row, _ in whole])
        apcer, bpcer = left_out(groups)
        print(
            f"ours × {ours}: mean AUC {mean_auc(groups):.4f}, left out one by one APCER {apcer:.1%} BPCER {bpcer:.1%}, "
            f"t* {1 / (1 + np.exp(-fit(groups))):.4f}"
        )
    groups = by_source(whole)
    threshold = fit(groups)
    print(f"\nas the manifest weighs them: t* {1 / (1 + np.exp(-threshold)):.4f}")
    print("\n| source | live | attacks | AUC | APCER by kind of attack | BPCER |\n|---|---|---|---|---|---|")
    for source, (live, spoof) in groups.items():
        area = f"{auc(live, spoof):.3f}" if min(len(live), len(spoof)) >= ENOUGH else ""
        kinds = by_attack([(row, of) for row, of in whole if row["source"] == source])
        passed = ", ".join(f"{kind} {percent((s < threshold).mean())} of {len(s)}" for kind, s in kinds.items())
        refused = percent((live >= threshold).mean()) if len(live) else ""
        print(f"| {source} | {len(live)} | {len(spoof)} | {area} | {passed} | {refused} |")
    apcer, bpcer = rates(groups, threshold)
    print(f"| **mean over sources** | | | **{mean_auc(groups):.3f}** | **{percent(apcer)}** | **{percent(bpcer)}** |\n")
    for kind, scores in by_attack(whole).items():
        print(f"{kind}: {percent((scores < threshold).mean())} of {len(scores)} pass")
    tight = by_source([(row, of) for row, of in zip(rows, logits, strict=True) if row["frame"] != "whole"])
    apcer, bpcer = rates(tight, threshold)
    print(f"tight crops: mean AUC {mean_auc(tight):.3f}, APCER {percent(apcer)}, BPCER {percent(bpcer)}")


def logit(row: dict, held_out: dict, weights: dict[str, float]) -> float:
    scores = {name: np.clip(score, 1e-7, 1 - 1e-7) for name, score in row["scores"].items()}
    logits = {name: np.log(score / (1 - score)) for name, score in scores.items()}
    logits[OURS] = held_out[row["path"]]["yunet"]
    return float(sum(weights[name] * logits[name] for name in weights) / sum(weights.values()))


def by_source(judged: Judged) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Source → logits of its live pictures, of its attacks."""
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for row, of in judged:
        groups.setdefault(row["source"], ([], []))[row["label"] == "spoof"].append(of)
    return {source: (np.array(live), np.array(spoof)) for source, (live, spoof) in sorted(groups.items())}


def by_attack(judged: Judged) -> dict[str, np.ndarray]:
    kinds: dict[str, list[float]] = {}
    for row, of in judged:
        if row["label"] == "spoof":
            kinds.setdefault(row["attack"] or "unstated", []).append(of)
    return {kind: np.array(scores) for kind, scores in sorted(kinds.items())}


def mean_auc(groups: dict[str, tuple[np.ndarray, np.ndarray]]) -> float:
    return float(np.mean([auc(*pair) for pair in groups.values() if min(map(len, pair)) >= ENOUGH]))


def rates(groups: dict, threshold: float) -> tuple[float, float]:
    """Means over sources of APCER and BPCER at a threshold."""
    apcer, bpcer = _curves(groups, np.array([threshold]))
    return float(apcer[0]), float(bpcer[0])


def fit(groups: dict) -> float:
    """Where the two means meet."""
    return float(CANDIDATES[np.argmin(np.maximum(*_curves(groups, CANDIDATES)))])


def _curves(groups: dict, thresholds: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means over sources of APCER and BPCER at every threshold; NaN without a source of the kind."""
    apcer = [np.searchsorted(np.sort(s), thresholds) / len(s) for _, s in groups.values() if len(s) >= ENOUGH]
    bpcer = [1 - np.searchsorted(np.sort(x), thresholds) / len(x) for x, _ in groups.values() if len(x) >= ENOUGH]
    nothing = np.full((1, len(thresholds)), np.nan)
    return np.mean(apcer or nothing, axis=0), np.mean(bpcer or nothing, axis=0)


def left_out(groups: dict) -> tuple[float, float]:
    """Each source judged at the operating point of all others: means of APCER and BPCER."""
    results = [rates({s: pair}, fit({k: v for k, v in groups.items() if k != s})) for s, pair in _enough(groups)]
    apcer, bpcer = zip(*results, strict=True)
    return float(np.nanmean(apcer)), float(np.nanmean(bpcer))


def _enough(groups: dict) -> list:
    return [(source, pair) for source, pair in groups.items() if max(map(len, pair)) >= ENOUGH]


def percent(share: float) -> str:
    return f"{share:.1%}".replace("%", " %")


if __name__ == "__main__":
    main(sys.argv[1])
