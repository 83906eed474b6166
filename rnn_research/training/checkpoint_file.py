"""Reads a checkpoint that may come from anywhere: nothing in it is executed."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import torch

from rnn_research.records import checksum


class Unreadable(ValueError):
    """A checkpoint that can't be read: the message says why."""


def read_checkpoint(path: Path, device: str | torch.device = "cpu") -> Any:
    """What a checkpoint holds, as tensors and plain values alone, after its checksum was compared.

    Raises:
        Unreadable: it can't be read, was changed, or names code.
    """
    try:
        checksum.check(path)
        return torch.load(path, map_location=device, weights_only=True)
    except Exception as error:  # zip, pickle and torch each have their own
        reason = " ".join(str(error).split())
        if named := re.search(r"(?:GLOBAL|class) ([\w.]+)", reason):  # torch's words go on to say how to execute it
            raise Unreadable(f"it names {named[1]}, expected tensors and plain values; nothing was executed") from None
        raise Unreadable(f"{type(error).__name__}: {reason[:200]}") from None
