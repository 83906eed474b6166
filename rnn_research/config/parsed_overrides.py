"""Overrides, as Hydra's grammar reads them."""

from __future__ import annotations

import functools

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException


@functools.lru_cache(maxsize=10_000)
def parsed(text: str) -> Override | None:
    """Return what Hydra reads an override as; None where it can't: that is told when the config is composed.

    Read once, since the grammar takes a millisecond and a command asks for the same text several times: don't change
    what is returned.
    """
    try:
        return OverridesParser.create().parse_override(text)
    except HydraException:
        return None
