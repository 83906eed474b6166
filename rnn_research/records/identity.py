"""What makes two trainings the same: the keys of a config, and what each changes."""

from __future__ import annotations

GROUPS = (
    "model",
    "dataset",
    "structure",
    "architecture",
    "init",
    "clipping",
    "regularizer",
    "optimizer",
    "probe",
    "trainer",
    "logger",
)
SCALARS = ("seed", "threads", "engine", "resume", "stop_when_solved", "trust")
"""What is at the top of a config; other keys are a user's own, and count where these refer to them."""
