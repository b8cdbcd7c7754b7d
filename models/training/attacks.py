"""Synthetic presentation attacks made from live pictures: screens, prints, cut-outs and masks, filmed again."""

from collections.abc import Callable

import cv2
import numpy as np

from crops import Box

Rng = np.random.Generator
Scene = tuple[np.ndarray, Box]  # a picture (uint8 RGB) and the face in it


def attack(live: Scene, other: Scene, rng: Rng) -> tuple[np.ndarray, Box, str]:
    """An attack with the live person's face, before or upon another picture, with the new face box and its kind."""
    kind = rng.choice(["screen", "screen", "print", "print", "cutout", "mask"])
    make: dict[str, Callable] = {"screen": screen, "print": print_, "cutout": cutout, "mask": mask}
    picture, box = make[str(kind)](live, other, rng)
    return picture, box, str(kind)


def screen(live: Scene, other: Scene, rng: Rng) -> Scene:
    """A phone, tablet or monitor that shows the picture."""
    content, box = _frame(live, rng)
    content = content.astype(np.float32)
    # Displays: another tone curve, a cast, light leaking through black.
    content = 255 * (content / 255) ** rng.uniform(0.7, 1.4) * rng.uniform(0.75, 1.35) * rng.uniform(0.88, 1.12, 3)
    content += rng.uniform(0, 35)
    content = _pixel_grid(content, rng)
    if rng.random() < 0.6:
        border = (rng.uniform(0.01, 0.08, 2) * content.shape[0]).astype(int) + 1
        if rng.random() < 0.3:
            border[1] = content.shape[1] // 4  # a landscape film on a portrait phone and the like
        shade = rng.uniform(0, 60) if rng.random() < 0.8 else rng.uniform(150, 240)
        content = cv2.copyMakeBorder(content, *border[[0, 0, 1, 1]].tolist(), cv2.BORDER_CONSTANT, value=[shade] * 3)
        box = (box[0] + int(border[1]), box[1] + int(border[0]), box[2], box[3])
    alpha = _rounded(content.shape[:2], rng)
    return _film(np.clip(content, 0, 255), alpha, box, other, rng, fill=rng.random() < 0.3, glare=True)


def print_(live: Scene, other: Scene, rng: Rng) -> Scene:
    """A photograph on paper, often with a white border, bent."""
    content, box = _frame(live, rng)
    content = _paper(content, rng)
    if rng.random() < 0.6:
        border = (rng.uniform(0.02, 0.15, 4) * content.shape[0]).astype(int)
        white = rng.uniform(180, 250)
        content = cv2.copyMakeBorder(content, *border.tolist(), cv2.BORDER_CONSTANT, value=[white] * 3)
        box = (box[0] + int(border[2]), box[1] + int(border[0]), box[2], box[3])
    alpha = np.ones(content.shape[:2], np.float32)
    content, alpha = _bend(content, alpha, rng)
    return _film(content, alpha, box, other, rng, fill=rng.random() < 0.12, glare=rng.random() < 0.3)


def cutout(live: Scene, other: Scene, rng: Rng) -> Scene:
    """A printed head, cut out along its outline and held in the scene."""
    content, box = _frame(live, rng)
    content = _paper(content, rng)
    alpha = _head(content.shape[:2], box, rng.uniform(0.6, 0.85), rng.uniform(0.65, 0.95))
    if rng.random() < 0.4:
        rim = cv2.dilate(alpha, np.ones((7, 7)))
        content = np.where((alpha < 0.5)[..., None], np.float32(rng.uniform(170, 250)), content)
        alpha = rim
    content, alpha = _bend(content, alpha, rng)
    return _film(content, alpha, box, other, rng, fill=False, glare=False)


def mask(live: Scene, other: Scene, rng: Rng) -> Scene:
    """A printed face worn over another person's."""
    (content, box), (scene, theirs) = live, other
    content = _paper(content, rng)
    alpha = _head(content.shape[:2], box, rng.uniform(0.45, 0.62), rng.uniform(0.5, 0.68))
    if rng.random() < 0.5:  # holes for the eyes
        for side in (0.3, 0.7):
            eye = (int(box[0] + side * box[2]), int(box[1] + 0.4 * box[3]))
            cv2.ellipse(alpha, eye, (int(0.1 * box[2]), int(0.05 * box[3])), 0, 0, 360, 0, -1)
    content, alpha = _bend(content, alpha, rng)
    scale = theirs[3] / box[3] * rng.uniform(1.0, 1.15)
    turn = cv2.getRotationMatrix2D((box[0] + box[2] / 2, box[1] + box[3] / 2), rng.normal(0, 5), scale)
    turn[:, 2] += (theirs[0] + theirs[2] / 2 - box[0] - box[2] / 2, theirs[1] + theirs[3] / 2 - box[1] - box[3] / 2)
    size = scene.shape[1::-1]
    pasted = cv2.warpAffine(content, turn, size, flags=cv2.INTER_AREA, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.GaussianBlur(cv2.warpAffine(alpha, turn, size), (0, 0), rng.uniform(0.4, 1.2))[..., None]
    return (scene * (1 - cover) + pasted * cover).astype(np.uint8), theirs


def _frame(live: Scene, rng: Rng) -> Scene:
    """Part of the live picture about the face, as a screen or print shows it."""
    picture, (x, y, w, h) = live
    rows, columns = picture.shape[:2]
    left, right = rng.uniform(0.15, 2.0, 2) * w
    top, bottom = rng.uniform(0.2, 1.2) * h, rng.uniform(0.1, 2.0) * h
    x0, x1 = int(max(0, x - left)), int(min(columns, x + w + right))
    y0, y1 = int(max(0, y - top)), int(min(rows, y + h + bottom))
    part, zoom = picture[y0:y1, x0:x1], 1.0
    if max(part.shape[:2]) < 400:
        zoom = 400 / max(part.shape[:2])
        part = cv2.resize(part, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
    return part, ((x - x0) * zoom, (y - y0) * zoom, w * zoom, h * zoom)


def _pixel_grid(content: np.ndarray, rng: Rng) -> np.ndarray:
    """Sub-pixel stripes (which alias to moiré when filmed), beats of low frequency and scan lines."""
    rows, columns = content.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    if rng.random() < 0.7:
        pitch, strength = rng.uniform(1.8, 4.5), rng.uniform(0.05, 0.45)
        for channel in range(3):
            phase = 2 * np.pi * (x / pitch + channel / 3)
            content[..., channel] *= 1 + strength * np.cos(phase)
        content *= (1 + strength * rng.uniform(0, 1) * np.cos(2 * np.pi * y / pitch))[..., None]
    if rng.random() < 0.5:
        angle, period = rng.uniform(0, np.pi), rng.uniform(5, 40)
        warp = rng.uniform(0, 8) * np.sin(2 * np.pi * (x + y) / rng.uniform(150, 600))
        wave = np.cos(2 * np.pi * (x * np.cos(angle) + y * np.sin(angle) + warp) / period)
        cast = rng.uniform(0.3, 1, 3) if rng.random() < 0.5 else np.ones(3)
        content *= 1 + rng.uniform(0.02, 0.18) * wave[..., None] * cast
    if rng.random() < 0.15:
        content *= (1 + rng.uniform(0.05, 0.2) * np.cos(2 * np.pi * y / rng.uniform(20, 200) + rng.uniform(0, 6)))[
            ..., None
        ]
    return content.astype(np.float32)


def _paper(content: np.ndarray, rng: Rng) -> np.ndarray:
    """Ink on paper: less contrast and colour, a cast, halftone or grain."""
    content = content.astype(np.float32)
    grey = content.mean(axis=2, keepdims=True)
    content = grey + (content - grey) * (rng.uniform(0.5, 1.1) if rng.random() < 0.9 else 0)
    low, high = rng.uniform(5, 60), rng.uniform(150, 245)
    content = (low + content / 255 * (high - low)) * rng.uniform(0.9, 1.1, 3).astype(np.float32)
    rows, columns = content.shape[:2]
    if rng.random() < 0.4:
        y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
        angle, pitch = rng.uniform(0, np.pi), rng.uniform(2.2, 5)
        u, v = x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)
        content += rng.uniform(5, 30) * (np.cos(2 * np.pi * u / pitch) * np.cos(2 * np.pi * v / pitch))[..., None]
    if rng.random() < 0.5:
        content += rng.standard_normal((rows, columns, 1), np.float32) * np.float32(rng.uniform(2, 8))
    if rng.random() < 0.4:
        content = cv2.GaussianBlur(content, (0, 0), rng.uniform(0.5, 2))
    return np.clip(content, 0, 255).astype(np.float32)


def _bend(content: np.ndarray, alpha: np.ndarray, rng: Rng) -> tuple[np.ndarray, np.ndarray]:
    """Paper held in the hand: bent about an axis, with light and shade."""
    if rng.random() < 0.4:
        return content, alpha
    rows, columns = content.shape[:2]
    y, x = np.mgrid[0:rows, 0:columns].astype(np.float32)
    along, phase, waves = (x / columns, y / rows)[rng.integers(2)], rng.uniform(0, 6), rng.uniform(0.3, 1.2)
    curve = np.sin(2 * np.pi * waves * along + phase) - np.sin(phase)
    depth = rng.uniform(0.005, 0.03) * rows
    shade = 1 + rng.uniform(0, 0.25) * np.cos(2 * np.pi * waves * along + phase)
    x, y = (x + depth * curve).astype(np.float32), (y + depth * curve).astype(np.float32)
    bent = cv2.remap(content, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) * shade[..., None]
    alpha = cv2.remap(alpha, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    return np.clip(bent, 0, 255).astype(np.float32), alpha


def _rounded(shape: tuple[int, int], rng: Rng) -> np.ndarray:
    alpha, (rows, columns) = np.ones(shape, np.float32), shape
    radius = int(rng.uniform(0, 0.08) * min(rows, columns))
    if radius:
        alpha[:] = 0
        cv2.rectangle(alpha, (radius, 0), (columns - radius, rows), 1, -1)
        cv2.rectangle(alpha, (0, radius), (columns, rows - radius), 1, -1)
        for cx in (radius, columns - radius):
            for cy in (radius, rows - radius):
                cv2.circle(alpha, (cx, cy), radius, 1, -1)
    return alpha


def _head(shape: tuple[int, int], box: Box, wide: float, high: float) -> np.ndarray:
    alpha = np.zeros(shape, np.float32)
    centre = (int(box[0] + box[2] / 2), int(box[1] + 0.48 * box[3]))
    cv2.ellipse(alpha, centre, (int(wide * box[2]), int(high * box[3])), 0, 0, 360, 1, -1)
    return alpha


def _film(content: np.ndarray, alpha: np.ndarray, box: Box, other: Scene, rng: Rng, fill: bool, glare: bool) -> Scene:
    """Holds the object before another scene's background and takes a picture of it, with perspective and a hand."""
    scene = other[0].astype(np.float32) * rng.uniform(0.5, 1.15)
    if rng.random() < 0.5:
        scene = cv2.GaussianBlur(scene, (0, 0), rng.uniform(0.5, 4))
    rows, columns = scene.shape[:2]
    tall, wide = content.shape[:2]
    if fill:
        scale = max(rows / tall, columns / wide) * rng.uniform(1.0, 1.4)
        centre = np.array([columns / 2, rows / 2])
        # The face stays in the picture.
        offset = np.array([box[0] + box[2] / 2 - wide / 2, box[1] + box[3] / 2 - tall / 2]) * scale
        room = np.array([max(0, wide * scale - columns), max(0, tall * scale - rows)]) / 2
        centre = centre - np.clip(offset, -room, room)
    else:
        scale = rng.uniform(0.2, 0.55) * min(rows, columns * 1.3) / box[3]
        centre = np.array([rng.uniform(0.3, 0.7) * columns, rng.uniform(0.35, 0.65) * rows])
        centre = centre - np.array([box[0] + box[2] / 2 - wide / 2, box[1] + box[3] / 2 - tall / 2]) * scale
    corners = np.array([[-wide, -tall], [wide, -tall], [wide, tall], [-wide, tall]]) / 2 * scale
    angle = np.deg2rad(rng.normal(0, 2 if fill else 7))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    quad = corners @ turn.T + centre + rng.normal(0, 0.015 if fill else 0.03, (4, 2)) * scale * min(wide, tall)
    flat = np.array([[0, 0], [wide, 0], [wide, tall], [0, tall]], np.float32)
    way = cv2.getPerspectiveTransform(flat, quad.astype(np.float32))
    shown = cv2.warpPerspective(content, way, (columns, rows), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    cover = cv2.warpPerspective(alpha, way, (columns, rows), flags=cv2.INTER_LINEAR)[..., None]
    if rng.random() < 0.3:
        shown = cv2.GaussianBlur(shown, (0, 0), rng.uniform(0.4, 1.5))
    if glare:
        shown = _glare(shown, other[0], rng)
    picture = scene * (1 - cover) + shown * cover
    if not fill and rng.random() < 0.6:
        picture = _hand(picture, quad, rng)
    x, y, w, h = box
    seen = cv2.perspectiveTransform(np.array([[[x, y], [x + w, y], [x + w, y + h], [x, y + h]]], np.float32), way)[0]
    middle = seen.mean(axis=0)
    width = (np.linalg.norm(seen[1] - seen[0]) + np.linalg.norm(seen[2] - seen[3])) / 2
    height = (np.linalg.norm(seen[3] - seen[0]) + np.linalg.norm(seen[2] - seen[1])) / 2
    face = (float(middle[0] - width / 2), float(middle[1] - height / 2), float(width), float(height))
    return np.clip(picture, 0, 255).astype(np.uint8), face


def _glare(shown: np.ndarray, reflected: np.ndarray, rng: Rng) -> np.ndarray:
    rows, columns = shown.shape[:2]
    if rng.random() < 0.35:
        mirror = cv2.GaussianBlur(reflected[:, ::-1].astype(np.float32), (0, 0), rng.uniform(2, 10))
        shown = shown + rng.uniform(0.03, 0.2) * mirror
    if rng.random() < 0.35:
        light = np.zeros((rows, columns), np.float32)
        at = (int(rng.uniform(0, columns)), int(rng.uniform(0, rows)))
        axes = (int(rng.uniform(0.02, 0.2) * columns), int(rng.uniform(0.02, 0.3) * rows))
        cv2.ellipse(light, at, axes, rng.uniform(0, 180), 0, 360, 1, -1)
        light = cv2.GaussianBlur(light, (0, 0), rng.uniform(2, 25))
        shown = shown + rng.uniform(60, 255) * light[..., None]
    return np.clip(shown, 0, 255)


def _hand(picture: np.ndarray, quad: np.ndarray, rng: Rng) -> np.ndarray:
    """Finger tips over one or two edges."""
    rows, columns = picture.shape[:2]
    skin = np.array([rng.uniform(90, 235), 0, 0])
    skin[1:] = skin[0] * rng.uniform(0.62, 0.85), skin[0] * rng.uniform(0.45, 0.75)
    layer, cover = np.zeros_like(picture), np.zeros((rows, columns), np.float32)
    size = np.linalg.norm(quad[1] - quad[0]) * rng.uniform(0.05, 0.12)
    for edge in rng.choice(4, rng.integers(1, 3), replace=False):
        start, end = quad[edge], quad[(edge + 1) % 4]
        inward = quad.mean(axis=0) - (start + end) / 2
        angle = np.degrees(np.arctan2(inward[1], inward[0])) + rng.normal(0, 15)
        first = rng.uniform(0.1, 0.7)
        for finger in range(rng.integers(1, 5)):
            at = start + (end - start) * min(0.95, first + finger * 2.2 * size / max(1.0, np.linalg.norm(end - start)))
            at = at - inward / max(1.0, np.linalg.norm(inward)) * size
            shade = rng.uniform(0.8, 1.1)
            axes = (max(1, int(size * rng.uniform(1.5, 3))), max(1, int(size)))
            cv2.ellipse(layer, (int(at[0]), int(at[1])), axes, angle, 0, 360, (skin * shade).tolist(), -1)
            cv2.ellipse(cover, (int(at[0]), int(at[1])), axes, angle, 0, 360, 1, -1)
    shadow = cv2.GaussianBlur(cover, (0, 0), max(1.0, size / 2))
    cover = cv2.GaussianBlur(cover, (0, 0), 0.8)[..., None]
    picture = picture * (1 - 0.3 * shadow[..., None])
    return picture * (1 - cover) + cv2.GaussianBlur(layer, (0, 0), 0.8) * cover
