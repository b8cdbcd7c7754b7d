"""The product's shifted-window crop (src/inference/crop.ts) for Python: same windows, same pixels up to rounding."""

import cv2
import numpy as np

from settings import INPUTS

Box = tuple[float, float, float, float]  # x, y, width, height in pixels; may reach outside the picture


def crop(picture: np.ndarray, box: Box, factor: float, size: int) -> np.ndarray:
    """`factor` times the face, size × size. `picture` is uint8, height × width × 3."""
    left, top, right, bottom = window(picture.shape[1], picture.shape[0], box, factor)
    return cv2.resize(picture[top : bottom + 1, left : right + 1], (size, size), interpolation=cv2.INTER_LINEAR)


def crops(picture: np.ndarray, box: Box) -> dict[str, np.ndarray]:
    """Every input of the classifier."""
    return {name: crop(picture, box, factor, size) for name, (factor, size) in INPUTS.items()}


def window(columns: int, rows: int, box: Box, factor: float) -> tuple[int, int, int, int]:
    """First and last pixels (left, top, right, bottom), shrunk and moved until they lie inside the picture."""
    x, y, w, h = box
    scale = min((rows - 1) / h, (columns - 1) / w, factor)
    left, right = _inside(x + w / 2, w * scale, columns - 1)
    top, bottom = _inside(y + h / 2, h * scale, rows - 1)
    return left, top, right, bottom


def _inside(centre: float, length: float, limit: int) -> tuple[int, int]:
    first, last = centre - length / 2, centre + length / 2
    if first < 0:
        first, last = 0.0, last - first
    if last > limit:
        first, last = first - (last - limit), float(limit)
    return max(0, int(first)), min(limit, int(last))
