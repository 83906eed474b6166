"""What libraries ask again and again, and what never has another answer, is answered once a process. Imported before
lightning and before configs are composed.

Each Trainer asks what installed packages bring to lightning (their entry points): the answer is in the files of all
packages. Composing one config, Hydra reads the text of its own version 500 times and its own yamls, and OmegaConf
parses the same interpolations (`${...}`): a sixth of the time.
"""

from __future__ import annotations

import functools
import importlib.metadata
import pickle
from typing import Any

import hydra.version
import omegaconf._utils
import omegaconf.base
import omegaconf.grammar_parser
import quick_configs  # noqa: F401
import yaml

importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
hydra.version._get_version = functools.cache(hydra.version._get_version)
_parse = functools.lru_cache(10_000)(omegaconf.grammar_parser.parse)
for module in (omegaconf.grammar_parser, omegaconf.base, omegaconf._utils):
    module.parse = _parse  # type: ignore[attr-defined]

_load, _read = yaml.load, dict[tuple[Any, str], bytes]()


def load(stream: Any, Loader: type) -> Any:
    """What a yaml holds, parsed once for each text. A mistake is told as ever, with the name of the file."""
    if isinstance(stream, str | bytes) or not stream.seekable():
        return _load(stream, Loader)
    start = stream.tell()
    key = stream.read(), Loader.__qualname__
    if key not in _read:
        stream.seek(start)
        _read[key] = pickle.dumps(_load(stream, Loader))
    return pickle.loads(_read[key])


yaml.load = load
