"""
The operating point of a set that counts our classifier among others, and its table for docs/models.md:

  npm run evaluate -- ../shared/pad --set ensemble --into evaluation
  .venv/bin/python operating_point.py ../../evaluation/evaluation.json   # with TRAIN_DIR as in training

The others' scores are those of the evaluation; ours are replaced by those of the networks that had not seen the source
judged (WORK/out-of-fold.json, written by the training), so pictures that every network saw (settings.BACKGROUND) are
left out. The set's logit is the mean. Means are over sources with at least ENOUGH pictures of a kind.
"""

import json
import sys
from pathlib import Path

import numpy as np

from evaluate import ENOUGH, auc
from settings import WORK

OURS = "own_liveness"
CANDIDATES = np.linspace(-6, 6, 1201)


def main(file: str) -> None:
    held_out = json.loads((WORK / "out-of-fold.json").read_text())
    judged = [row for row in json.loads(Path(file).read_text())["judged"] if not row["refused"]]
    rows = [row for row in judged if row["path"] in held_out]
    print(f"{len(rows)} pictures, {len(judged) - len(rows)} left out\n")
    whole = [row for row in rows if row["frame"] == "whole"]
    for weight in (0, 0.5, 1, 1.5, 2, 3):
        groups = by_source(whole, held_out, weight)
        threshold, (apcer, bpcer) = fit(groups), left_out(groups)
        print(
            f"ours × {weight}: mean AUC {mean_auc(groups):.4f}, left out one by one APCER {apcer:.1%} "
            f"BPCER {bpcer:.1%}, t* {1 / (1 + np.exp(-threshold)):.4f}"
        )
    groups = by_source(whole, held_out, 1)
    threshold = fit(groups)
    print("\n| source | live | attacks | AUC | APCER by kind of attack | BPCER |\n|---|---|---|---|---|---|")
    for source, (live, spoof) in groups.items():
        area = f"{auc(live, spoof):.3f}" if min(len(live), len(spoof)) >= ENOUGH else ""
        kinds = by_attack([row for row in whole if row["source"] == source], held_out)
        passed = ", ".join(f"{kind} {percent((s < threshold).mean())} of {len(s)}" for kind, s in kinds.items())
        refused = percent((live >= threshold).mean()) if len(live) else ""
        print(f"| {source} | {len(live)} | {len(spoof)} | {area} | {passed} | {refused} |")
    apcer, bpcer = rates(groups, threshold)
    print(f"| **mean over sources** | | | **{mean_auc(groups):.3f}** | **{percent(apcer)}** | **{percent(bpcer)}** |\n")
    for kind, scores in by_attack(whole, held_out).items():
        print(f"{kind}: {percent((scores < threshold).mean())} of {len(scores)} pass")
    tight = by_source([row for row in rows if row["frame"] != "whole"], held_out, 1)
    apcer, bpcer = rates(tight, threshold)
    print(f"tight crops: mean AUC {mean_auc(tight):.3f}, APCER {percent(apcer)}, BPCER {percent(bpcer)}")


def logit(row: dict, held_out: dict, weight: float) -> float:
    others = [np.clip(score, 1e-7, 1 - 1e-7) for name, score in row["scores"].items() if name != OURS]
    logits = [np.log(score / (1 - score)) for score in others]
    return float((sum(logits) + weight * held_out[row["path"]]["yunet"]) / (len(logits) + weight))


def by_source(rows: list[dict], held_out: dict, weight: float) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Source → logits of its live pictures, of its attacks."""
    groups: dict[str, tuple[list[float], list[float]]] = {}
    for row in rows:
        pair = groups.setdefault(row["source"], ([], []))
        pair[row["label"] == "spoof"].append(logit(row, held_out, weight))
    return {source: (np.array(live), np.array(spoof)) for source, (live, spoof) in sorted(groups.items())}


def by_attack(rows: list[dict], held_out: dict) -> dict[str, np.ndarray]:
    kinds: dict[str, list[float]] = {}
    for row in rows:
        if row["label"] == "spoof":
            kinds.setdefault(row["attack"] or "unstated", []).append(logit(row, held_out, 1))
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
