"""Nothing is synced to the disk where this is imported: what a run writes outlives a killed process without it, and no
test cuts the power. A tenth of a small run's time goes with it."""

from __future__ import annotations

import os

os.fsync = lambda file: None  # type: ignore[assignment]
