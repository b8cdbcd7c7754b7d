"""What happens to a picture before it is judged, alike for live pictures and attacks: none of it tells them apart."""

import cv2
import numpy as np

from crops import Box

Rng = np.random.Generator


def vary(picture: np.ndarray, box: Box, other: np.ndarray, rng: Rng) -> tuple[np.ndarray, Box]:
    """A picture (uint8 RGB) with another framing, camera and transmission, and the box as a detector might err."""
    if rng.random() < 0.35:
        picture, box = _frame_closer(picture, box, rng)
    if rng.random() < 0.12:
        picture = _thing_in_the_room(picture, box, other, rng)
    if rng.random() < 0.08:
        picture, box = _letterbox(picture, box, rng)
    if rng.random() < 0.4:
        scale = rng.uniform(0.45, 0.95)
        how = (cv2.INTER_AREA, cv2.INTER_LINEAR)[rng.integers(2)]
        small = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=how)
        if rng.random() < 0.5:
            picture = cv2.resize(small, picture.shape[1::-1], interpolation=cv2.INTER_CUBIC)
        else:
            scale_x, scale_y = small.shape[1] / picture.shape[1], small.shape[0] / picture.shape[0]
            picture, box = small, (box[0] * scale_x, box[1] * scale_y, box[2] * scale_x, box[3] * scale_y)
    if rng.random() < 0.3:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.3, 1.6))
    elif rng.random() < 0.12:
        picture = _shake(picture, rng)
    elif rng.random() < 0.15:
        soft = cv2.GaussianBlur(picture, (0, 0), 1.2)
        picture = cv2.addWeighted(picture, 1.8, soft, -0.8, 0)  # a camera's sharpening
    if rng.random() < 0.3:
        shape = (*picture.shape[:2], 3 if rng.random() < 0.5 else 1)
        noise = rng.standard_normal(shape, np.float32) * np.float32(rng.uniform(1, 9))
        picture = np.clip(picture + noise, 0, 255).astype(np.uint8)
    if rng.random() < 0.7:
        quality = int(rng.uniform(30, 96))
        _, bytes_ = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(bytes_, cv2.IMREAD_COLOR)
    return picture, box


def jitter(box: Box, rng: Rng) -> Box:
    """A detector's errors: 4 % of the side in place, 7 % in size; thrice as much now and then."""
    x, y, w, h = box
    error = 3 if rng.random() < 0.15 else 1
    wide, high = w * np.exp(rng.normal(0, 0.07 * error)), h * np.exp(rng.normal(0, 0.07 * error))
    cx, cy = x + w / 2 + rng.normal(0, 0.04 * error) * w, y + h / 2 + rng.normal(0, 0.04 * error) * h
    return float(cx - wide / 2), float(cy - high / 2), float(wide), float(high)


def shade(views: dict[str, np.ndarray], rng: Rng) -> dict[str, np.ndarray]:
    """Another tone curve, cast and saturation, alike in all inputs (uint8 RGB); most are left as they are or nearly."""
    if rng.random() < 0.35:
        return views
    colour = 0.0 if rng.random() < 0.08 else rng.uniform(0.5, 1.3)
    mix = (np.eye(3) * colour + (1 - colour) / 3).astype(np.float32)
    gain = rng.uniform(0.65, 1.4) * rng.uniform(0.9, 1.1, 3)
    curve = (np.arange(256) / 255)[:, None] ** rng.uniform(0.75, 1.35) * 255 * gain + rng.uniform(-20, 20)
    table = np.clip(curve, 0, 255).astype(np.uint8)[None]
    return {name: cv2.transform(cv2.LUT(view, table), mix) for name, view in views.items()}


def _frame_closer(picture: np.ndarray, box: Box, rng: Rng) -> tuple[np.ndarray, Box]:
    """The camera stands nearer: less of the scene, though never less than a third of the face beside it."""
    rows, columns = picture.shape[:2]
    x, y, w, h = box
    left = int(rng.uniform(0, max(0.0, x - 0.35 * w)))
    top = int(rng.uniform(0, max(0.0, y - 0.35 * h)))
    right = int(rng.uniform(min(columns, x + 1.35 * w), columns)) + 1
    bottom = int(rng.uniform(min(rows, y + 1.35 * h), rows)) + 1
    return np.ascontiguousarray(picture[top:bottom, left:right]), (x - left, y - top, w, h)


def _thing_in_the_room(picture: np.ndarray, box: Box, other: np.ndarray, rng: Rng) -> np.ndarray:
    """A poster, screen or window beside the face: an edge in the room is no attack."""
    rows, columns = picture.shape[:2]
    x, y, w, h = box
    high, wide = int(rng.uniform(0.15, 0.6) * rows), int(rng.uniform(0.1, 0.5) * columns)
    top, left = int(rng.uniform(-0.2, 0.9) * rows), int(rng.uniform(-0.2, 0.9) * columns)
    clear = left + wide < x - 0.1 * w or left > x + 1.1 * w or top + high < y - 0.2 * h
    if not clear or high < 4 or wide < 4:
        return picture
    thing = cv2.resize(other, (wide, high), interpolation=cv2.INTER_AREA)
    if rng.random() < 0.6:
        edge = max(1, int(0.06 * min(high, wide)))
        thing[:edge] = thing[-edge:] = thing[:, :edge] = thing[:, -edge:] = int(rng.uniform(0, 255))
    picture = picture.copy()
    y0, y1, x0, x1 = max(0, top), min(rows, top + high), max(0, left), min(columns, left + wide)
    if y1 > y0 and x1 > x0:
        picture[y0:y1, x0:x1] = thing[y0 - top : y1 - top, x0 - left : x1 - left]
    return picture


def _letterbox(picture: np.ndarray, box: Box, rng: Rng) -> tuple[np.ndarray, Box]:
    rows, columns = picture.shape[:2]
    sides, ends = (
        rng.integers(2) * int(rng.uniform(0.05, 0.4) * columns),
        rng.integers(2) * int(rng.uniform(0.05, 0.2) * rows),
    )
    picture = cv2.copyMakeBorder(picture, ends, ends, sides, sides, cv2.BORDER_CONSTANT, value=[0, 0, 0])
    return picture, (box[0] + sides, box[1] + ends, box[2], box[3])


def _shake(picture: np.ndarray, rng: Rng) -> np.ndarray:
    length = int(rng.integers(3, 8))
    line = np.zeros((length, length), np.float32)
    line[length // 2] = 1 / length
    turn = cv2.getRotationMatrix2D((length / 2 - 0.5, length / 2 - 0.5), rng.uniform(0, 180), 1)
    line = cv2.warpAffine(line, turn, (length, length))
    return cv2.filter2D(picture, -1, line / max(1e-6, line.sum()))
