"""Records of version 1 as ones of version 2.

Version 1 held `factors`: the option of each group, and the values that were typed, as text and without `+` and `~`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rnn_research.records.canonical import leaves

RENAMED = {
    "rnn_research.structures.layout.Sequence": "rnn_research.structures.layouts.ChainLayout",
    "rnn_research.structures.layout.Balanced": "rnn_research.structures.layouts.BalancedTreeLayout",
    "rnn_research.structures.layout.Parse": "rnn_research.structures.layouts.ParseTreeLayout",
    "rnn_research.structures.layout.natural": "rnn_research.structures.layouts.automatic_layout",
}
"""Targets that have another name since."""


def renamed(value: Any) -> Any:
    """A config with today's names of the project's own targets."""
    if isinstance(value, Mapping):
        return {key: renamed(item) for key, item in value.items()}
    if isinstance(value, list):
        return [renamed(item) for item in value]
    return RENAMED.get(value, value) if isinstance(value, str) else value


def converted(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a record of version 1 as those of version 2; the config says what a typed value was."""
    factors, config = raw["factors"], raw["config"]
    if not isinstance(factors, dict) or not isinstance(config, dict):
        return {**raw, "choices": factors}
    known = leaves(config)
    return {
        **{key: value for key, value in raw.items() if key != "factors"},
        "choices": {"architecture": "auto"} | {key: value for key, value in factors.items() if not _in(key, known)},
        "overrides": [f"{key}={_as_typed(value)}" for key, value in factors.items() if key != "seed"],
        "config": renamed(config),
    }


def _in(key: str, known: Mapping[str, Any]) -> bool:
    """Whether a typed key is one of the config's, or short for one: `clipping.max_norm`."""
    group, dot, rest = str(key).partition(".")
    if not dot:
        return known.get(group, {}) != {}  # a group may be empty
    return any(
        name == key or name.startswith(f"{key}.") or (name.startswith(f"{group}.") and name.endswith(f".{rest}"))
        for name in known
    )


def _as_typed(option: Any) -> str:
    """A group with several options is recorded as a+b, and asked for as [a,b]."""
    several = re.fullmatch(r"[a-z_]\w*(\+[a-z_]\w*)+", str(option))
    return f"[{option.replace('+', ',')}]" if several else str(option)
