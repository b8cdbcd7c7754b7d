"""
Writes test/inference/training-crops.json: crops of a drawn picture as the training sees them, every 97th value of each,
for the product's test to compare with its own (test/inference/training-crops.spec.ts).
"""

import json

import numpy as np

from crops import crops
from settings import INPUTS, ROOT

BOXES = [
    (101.3, 60.7, 88.4, 110.2),
    (-7.5, 12.25, 140.0, 171.5),
    (230.1, 150.9, 60.2, 71.4),
    (40.0, 10.0, 240.0, 210.0),
    (150.0, 100.0, 12.0, 15.5),
]


def drawn(width: int, height: int) -> np.ndarray:
    y, x = np.mgrid[0:height, 0:width]
    return np.stack([(x * 7 + y * 3) % 256, (x * y) % 251, (x * x + 5 * y) % 256], 2).astype(np.uint8)


if __name__ == "__main__":
    picture = drawn(300, 240)
    inputs = {
        name: {"rule": "shifted-window", "factor": factor, "resample": "bilinear", "size": size}
        for name, (factor, size) in INPUTS.items()
    }
    cases = [
        {"box": box, "values": {name: cut.reshape(-1)[::97].tolist() for name, cut in crops(picture, box).items()}}
        for box in BOXES
    ]
    target = ROOT / "test/inference/training-crops.json"
    target.write_text(json.dumps({"width": 300, "height": 240, "inputs": inputs, "cases": cases}) + "\n")
