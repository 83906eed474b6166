"""What libraries ask again and again, and what never has another answer, is answered once a process. Imported before
lightning and before configs are composed.

Each Trainer asks what installed packages bring to lightning (their entry points): the answer is in the files of all
packages. Composing one config, Hydra reads the text of its own version 500 times, and OmegaConf parses the same
interpolations (`${...}`): a tenth of the time.
"""

from __future__ import annotations

import functools
import importlib.metadata

import hydra.version
import omegaconf._utils
import omegaconf.base
import omegaconf.grammar_parser

importlib.metadata.entry_points = functools.cache(importlib.metadata.entry_points)
hydra.version._get_version = functools.cache(hydra.version._get_version)
_parse = functools.lru_cache(10_000)(omegaconf.grammar_parser.parse)
for module in (omegaconf.grammar_parser, omegaconf.base, omegaconf._utils):
    module.parse = _parse  # type: ignore[attr-defined]
