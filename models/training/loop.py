"""One training run: AdamW, cosine learning rate, averaged weights; interrupted, it goes on with the same outcome."""

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from settings import EMA, WARM_UP, WEIGHT_DECAY, WORK

CHECKPOINT_EVERY = 200
TELL_EVERY = 40

Costs = Callable[[int], tuple[Tensor, dict[str, Tensor]]]
Peak = Callable[[str], float]  # the highest learning rate of a parameter by its name


def start(seed: int) -> None:
    """Before any weight is drawn."""
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    torch.manual_seed(seed)


def fit(name: str, seed: int, network: nn.Module, steps: int, peak: Peak, costs: Costs) -> None:
    """
    Trains `network` to WORK/NAME-SEED.pt. `costs` gives, for a step, what to minimise and the parts of it to tell of;
    all its chance must depend on seed and step, so that a resumed run sees what an uninterrupted one would have.
    """
    label, target = f"{name}-{seed}", WORK / f"{name}-{seed}.pt"
    network = network.to(memory_format=torch.channels_last)
    average = torch.optim.swa_utils.AveragedModel(
        network, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn(EMA), use_buffers=True
    )
    optimizer = torch.optim.AdamW(groups(network, peak), fused=True)
    checkpoint, first = WORK / f"{label}.checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        average.load_state_dict(saved["average"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    began, told = time.monotonic(), {}
    network.train()
    for step in range(first, steps):
        torch.manual_seed(seed * 1_000_003 + step)
        for group in optimizer.param_groups:
            group["lr"] = rate(step, steps, group["peak"])
        cost, parts = costs(step)
        optimizer.zero_grad()
        cost.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 5)
        optimizer.step()
        average.update_parameters(network)
        told = {part: 0.95 * told.get(part, value.item()) + 0.05 * value.item() for part, value in parts.items()}
        if (step + 1) % TELL_EVERY == 0:
            left = (time.monotonic() - began) / (step + 1 - first) * (steps - step - 1)
            means = ", ".join(f"{part} {value:.3f}" for part, value in told.items())
            print(f"{label}: step {step + 1} of {steps}, {means}, {left:.0f} s left", flush=True)
        if (step + 1) % CHECKPOINT_EVERY == 0 and step + 1 < steps:
            state = {"network": network.state_dict(), "average": average.state_dict()}
            save({**state, "optimizer": optimizer.state_dict(), "step": step + 1}, checkpoint)
    save(average.module.state_dict(), target)
    checkpoint.unlink(missing_ok=True)


def groups(network: nn.Module, peak: Peak) -> list[dict]:
    """Parameters with the same peak; only matrices and filters decay."""
    found: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        found.setdefault((peak(name), WEIGHT_DECAY if parameter.ndim > 1 else 0.0), []).append(parameter)
    return [{"params": some, "peak": high, "weight_decay": decay} for (high, decay), some in found.items()]


def rate(step: int, steps: int, peak: float) -> float:
    """The learning rate: a cosine to zero, with a warm-up."""
    return peak * (0.5 + 0.5 * math.cos(math.pi * step / steps)) * min(1, (step + 1) / WARM_UP)


def save(state: dict, path: Path) -> None:
    """Whole or not at all."""
    scratch = path.with_suffix(".partial")
    torch.save(state, scratch)
    scratch.replace(path)
