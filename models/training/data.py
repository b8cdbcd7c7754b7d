"""The pictures: where they lie, what is known of them, and which fold of the cross-validation they belong to."""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np

from crops import Box
from settings import BACKGROUND, DATA, FOLDS, FULL_FRAME, KIN, PORTRAIT, WORK

SAME_FACE = 0.4  # intersection over union


@dataclass(frozen=True)
class Picture:
    path: str  # GROUP/LABEL/SOURCE/NAME.jpg
    boxes: tuple[Box, ...]  # the largest face as each detector sees it
    frame: str  # full, portrait or crop
    attack: str | None
    person: str

    @property
    def group(self) -> str:
        return self.path.split("/")[0]

    @property
    def spoof(self) -> bool:
        return self.path.split("/")[1] == "spoof"

    @property
    def source(self) -> str:
        return self.path.split("/")[2]

    @property
    def background(self) -> bool:
        """In every training and never judged."""
        return self.source in BACKGROUND and self.group == "train"

    @cached_property
    def pixels(self) -> np.ndarray:
        """uint8 RGB"""
        return cv2.imread(str(DATA / self.path), cv2.IMREAD_COLOR)[:, :, ::-1].copy()


def load() -> list[Picture]:
    """
    All pictures in which a face was found, in a fixed order.

    Boxes come from WORK/boxes.json (written by boxes.ts: both detectors of the product) and, where the data folder has
    one, from its own boxes.json, which may also name attack, person and frame. Where the two detectors adopt different
    faces, YuNet's counts.
    """
    told = _read(DATA / "boxes.json")
    found = _read(WORK / "boxes.json")
    pictures = []
    for file in sorted(DATA.glob("*/*/*/*.jpg")):
        path = file.relative_to(DATA).as_posix()
        about = told.get(path, {})
        seen = [(found.get(path, {}).get(detector) or [[]])[0][:4] for detector in ("yunet", "blazeface")]
        yunet, blazeface = about.get("box") or seen[0], seen[1]
        boxes = [yunet] if yunet else []
        boxes += [blazeface] if blazeface and (not yunet or overlap(yunet, blazeface) >= SAME_FACE) else []
        if path.split("/")[1] not in ("live", "spoof") or not boxes:
            continue
        source = path.split("/")[2]
        pictures.append(
            Picture(
                path,
                tuple(tuple(box) for box in boxes),
                about.get("frame") or frame_of(file, boxes[0]),
                about.get("attack") or (None if "/live/" in path else "unknown"),
                about.get("person") or f"{source}/{file.stem}",
            )
        )
    if not pictures:
        raise SystemExit(f"No pictures with faces in {DATA}: see models/README.md for the layout")
    return pictures


def overlap(a: Box, b: Box) -> float:
    """Intersection over union."""
    wide = min(a[0] + a[2], b[0] + b[2]) - max(a[0], b[0])
    high = min(a[1] + a[3], b[1] + b[3]) - max(a[1], b[1])
    common = max(0.0, wide) * max(0.0, high)
    return common / (a[2] * a[3] + b[2] * b[3] - common)


def frame_of(file: Path, box: Box) -> str:
    height, width = cv2.imread(str(file)).shape[:2]
    fits = min((height - 1) / box[3], (width - 1) / box[2])
    return "full" if fits >= FULL_FRAME else "portrait" if fits >= PORTRAIT else "crop"


def folds(pictures: list[Picture]) -> dict[str, int]:
    """
    Source → fold in which it is held out (but for background pictures). Sources in both groups are one source, kin
    stay together. The largest sources with whole frames of both classes are dealt out first, then the others to the
    smallest fold.
    """
    kin = {name: names[0] for names in KIN for name in names}
    whole: dict[str, dict[str, int]] = {}
    for picture in pictures:
        if picture.background:
            continue
        key = ("live", "spoof")[picture.spoof] if picture.frame == "full" else "other"
        counts = whole.setdefault(kin.get(picture.source, picture.source), {"live": 0, "spoof": 0, "other": 0})
        counts[key] += 1
    sizes = [np.zeros(2) for _ in range(FOLDS)]
    fold: dict[str, int] = {}
    for name in sorted(whole, key=lambda n: (-min(whole[n]["live"], whole[n]["spoof"]), -sum(whole[n].values()), n)):
        both = min(whole[name]["live"], whole[name]["spoof"])
        # Sources that are judged weigh by their number, the others by their pictures.
        smallest = min(range(FOLDS), key=lambda i: tuple(sizes[i]) if both else tuple(sizes[i][::-1]))
        fold[name] = smallest
        sizes[smallest] += (1 if both else 0, sum(whole[name].values()))
    return {p.source: fold[kin.get(p.source, p.source)] for p in pictures if not p.background}


def _read(file: Path) -> dict:
    return json.loads(file.read_text()) if file.exists() else {}
