"""Every setting and hyper-parameter of the training in one place; environment variables override paths and seeds."""

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

# Pictures in the layout GROUP/LABEL/SOURCE/NAME.jpg (LABEL: live or spoof), see models/README.md.
DATA = Path(os.environ.get("TRAIN_DATA", ROOT / "../shared/pad")).resolve()
# Public classifiers whose opinion is imitated besides the labels; used when their files are there.
TEACHERS = Path(os.environ.get("MODELS_DIR", ROOT / "../shared/models")).resolve()
# Views, checkpoints, scores and logs. Deleting it starts afresh, keeping it resumes.
WORK = Path(os.environ.get("TRAIN_DIR", ROOT / "models/training/.work")).resolve()
SEED = int(os.environ.get("TRAIN_SEED", "1"))
JOBS = int(os.environ.get("TRAIN_JOBS", "2"))  # trainings at a time, one thread each

# The classifier's inputs: name → (times the face box, side in pixels), see crops.py.
INPUTS: dict[str, tuple[float, int]] = {"scene": (4.0, 80), "context": (2.7, 80)}
# Teacher's weights → the input it sees (both take BGR, 0–255, and answer spoof, live, spoof).
TEACHER_INPUTS = {"minifasnet_v1se_40_80.onnx": "scene", "minifasnet_v2_27_80.onnx": "context"}

FOLDS = 5
# Sources that share persons, rooms or pictures are held out together.
KIN = [("piiyushjoshi", "yashpatil"), ("silentface", "ahmedeg1996"), ("celebrities", "deepface", "youtubefaces")]

# From which share of the frame on a picture counts as a whole frame: the face fits so many times into it.
FULL_FRAME, PORTRAIT = 1.6, 1.25

VIEWS_PER_GROUP, MIN_VIEWS, MAX_VIEWS = 160, 2, 8  # augmented views per source and label, and per picture
ATTACKS_PER_LIVE = 2  # synthetic attacks made of each live picture with a scene around the face

STEPS = 1200
BATCH = 64
# Learning rate as cosines: (first step, step of its zero, peak). Each is cut short, the first by a warm restart.
CYCLES = ((0, 960, 1.5e-3), (840, 1320, 1e-3))
WEIGHT_DECAY, WARM_UP = 0.05, 80
EMA = 0.993
LABEL_SMOOTHING = 0.05
# Shares of a batch: live pictures, spoofs, synthetic attacks.
SHARES = (0.45, 0.35, 0.20)
CROP_WEIGHT = 0.25  # tight crops count less than whole frames, which is what customers send
IMITATION = float(os.environ.get("TRAIN_IMITATION", "1.5"))  # weight of the teachers' logits in the loss
