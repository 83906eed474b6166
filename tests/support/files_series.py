"""Tiny files of the data sets of series that read some, as a user or an archive has them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

MAKERS: dict[str, Callable[[Path], dict[str, str]]] = {}
"""By the name of a data set's class: writes its files into a folder, and returns what to type with it."""
