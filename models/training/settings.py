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

# Sources of many people and no attacks. What they have in group train is in every training, first in the imitation that
# all others start from, and never judged; their pictures in group val show other people and are held out like any
# source.
BACKGROUND = ("youtubefaces", "withoutmask", "celebrities", "deepface", "linzaer")

# From which share of the frame on a picture counts as a whole frame: the face fits so many times into it.
FULL_FRAME, PORTRAIT = 1.6, 1.25

VIEWS_PER_GROUP, MIN_VIEWS, MAX_VIEWS = 240, 4, 10  # augmented views per source and label, and per picture
BACKGROUND_VIEWS = 6  # per picture of BACKGROUND
ATTACKS_PER_LIVE = 8  # synthetic attacks made of each live picture with a scene around the face

# Steps: of each trunk's imitation of its teacher (its stages apart, then together), and of each training after it.
APART_STEPS = int(os.environ.get("TRAIN_APART_STEPS", "1900"))
TOGETHER_STEPS = int(os.environ.get("TRAIN_TOGETHER_STEPS", "400"))
STEPS = int(os.environ.get("TRAIN_STEPS", "450"))
STEPS_WITHOUT_TEACHERS = 4 * STEPS  # every training starts at random then
BATCH = 64
# Learning rates. While the stages learn apart, convolutions that a batch normalisation follows bear a far higher one
# and need it: at 2e-3 they explain in 2,200 batches what they explain in 400 at 5e-2 (models/README.md).
PEAK_APART, PEAK = 4e-2, 3e-3
PEAK_TOGETHER, PEAK_AFTER, PEAK_JUDGE = 7e-4, 5e-4, 2e-3
WEIGHT_DECAY, WARM_UP = 0.05, 80
EMA = 0.995
LABEL_SMOOTHING = 0.05
MAP_DROPOUT = 0.3  # share of the channels that are withheld from the stages that labels teach
# Shares of a batch: live pictures, spoofs, synthetic attacks.
SHARES = (0.40, 0.35, 0.25)
BACKGROUND_WEIGHT = 0.5  # they have been seen already when the others come in
GREY = 0.12  # share of a batch that is shown without colour, live pictures and attacks alike
CROP_WEIGHT = 0.25  # tight crops count less than whole frames, which is what customers send
IMITATION = float(os.environ.get("TRAIN_IMITATION", "1"))  # weight of the teachers in the loss

WIDTHS = (32, 64, 128, 128)  # channels at a half, quarter, eighth and sixteenth of the side
BETWEEN = (128, 256, 256)  # channels inside the block that halves the side, as the teachers widen there
BLOCKS = (2, 3, 2)  # of the stages; the first of each halves the side
WEIGHING = ("scene",)  # inputs whose teacher weighs channels at the end of a stage
EMBEDDING = 128  # values of a teacher's last layer but one
