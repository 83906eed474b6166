"""Where a run came from: versions, commit and machine."""

from __future__ import annotations

import functools
import os
import platform
import subprocess
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("rnn_research", "torch", "lightning", "hydra-core", "omegaconf", "torchmetrics", "numpy")


def versions() -> dict[str, str]:
    """Of python, and of the installed packages that a run's numbers depend on."""
    return {"python": platform.python_version()} | _installed()


@functools.cache
def _installed() -> dict[str, str]:
    """Looked up once: reading a package's metadata takes longer than a step of training."""
    found = {}
    for package in PACKAGES:
        with suppress(metadata.PackageNotFoundError):
            found[package] = metadata.version(package)
    return found


@functools.cache
def commit() -> str | None:
    """The commit of the checkout that holds this package, as `commit_of`. Asked once: what is loaded stays as it was,
    and git takes a twentieth of a small run."""
    return commit_of(Path(__file__).parents[1])


def commit_of(package: Path) -> str | None:
    """The commit of the checkout that holds a package, with "+" where it has changes; None elsewhere."""
    if not (package.parent / ".git").exists():
        return None
    command = ["git", "status", "--porcelain=v2", "--branch", "--no-ahead-behind", "--untracked-files=no"]
    try:
        done = subprocess.run(command, cwd=package, capture_output=True, text=True, timeout=5, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    lines = done.stdout.splitlines()
    found = next((line.split()[-1] for line in lines if line.startswith("# branch.oid ")), "(initial)")
    changed = any(not line.startswith("#") for line in lines)
    return None if found == "(initial)" else found + "+" * changed


def machine() -> dict[str, Any]:
    """The system, its processor and accelerator, and the threads in use."""
    return {
        "system": platform.system(),
        "processor": platform.machine(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "accelerator": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }
