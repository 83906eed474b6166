"""Tiny files for every data set that reads some: what the tests of every option in conf/ train on."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path

import files_audio
import files_frames
import files_series
import files_text
import files_trees
from omegaconf import DictConfig, OmegaConf

MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {
    "SST": files_trees.treebank,
    **files_text.MAKERS,
    **files_trees.MAKERS,
    **files_audio.MAKERS,
    **files_frames.MAKERS,
    **files_series.MAKERS,
}


def files_for(dataset: DictConfig, folder: Path) -> dict[str, str]:
    """What to type so that a data set reads tiny files in `folder`, which are written there; nothing for one that
    reads none."""
    name = str(OmegaConf.select(dataset, "_target_")).rpartition(".")[2]
    return made(name, folder) if name in MAKERS else {}


def made(name: str, folder: Path) -> dict[str, str]:
    """The same by the name of the data set's class: written once a process, and read by all tests that ask."""
    return dict(_made(name, folder))


@functools.cache
def _made(name: str, folder: Path) -> dict[str, str]:
    own = folder / name
    own.mkdir(parents=True, exist_ok=True)
    return MAKERS[name](own)
