"""What installed packages bring to lightning (their entry points) is looked up once a process, where this is imported
before lightning: each Trainer asks, and the answer is in the files of all packages."""

from __future__ import annotations

import functools
import importlib.metadata

importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
