"""The tables of a run folder that not every run has, with numbers that are known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from folders import STEPS

from rnn_research.records import runs

STRATEGIES = ("global_norm", "value", "spam", "agc", "zclip")


def write_optional_tables(folder: Path, seed: int, classes: int = 3) -> None:
    """Saturated gates, strategies of which one skips steps, and random answers among classes."""
    random = np.random.default_rng(seed)
    gates = [("step", "i8"), ("layer", "i2"), ("f", "f8"), ("hidden", "f8"), ("forget_timescale", "f8")]
    saturated = [(step, 0, 0.1 + step / 1000, 0.02 * seed, 3.0 + step) for step in STEPS]
    runs.write_table(folder, "saturation", np.array(saturated, gates))
    parts = [f"{name}.{part}" for name in STRATEGIES for part in ("norm_after", "coefficient", "cosine", "skipped")]
    seen = np.ones(100, [("step", "i8"), *((name, "f8") for name in ("norm_before", *parts))])
    seen["step"] = np.arange(100)
    for place, name in enumerate(STRATEGIES):
        seen[f"{name}.norm_after"], seen[f"{name}.skipped"] = np.exp(-place * random.random(100)), 0
        seen[f"{name}.cosine"] = 1 - 0.1 * place * random.random(100)
    seen["spam.skipped"][::9] = 1
    runs.write_table(folder, "counterfactual", seen)
    answers = np.zeros(90, [("set", "U4"), ("predicted", "i8"), ("true", "i8"), ("correct", "?"), ("loss", "f8")])
    answers["set"] = "test"
    answers["true"], answers["predicted"] = random.integers(0, classes, (2, 90))
    runs.write_table(folder, runs.ANSWERS, answers)
