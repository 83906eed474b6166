"""The values of a config in one form, whatever was typed: `1e-3`, `0.001` and `1.0e-3` are one value."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

ABSENT = "–"
"""Stands for the value of a key that a config does not have."""
WORDS = ("null", "true", "false", "~", "", ABSENT)
"""Texts that would be read as something else than text."""
COUNT_OR_SHARE = "trainer."
"""Below it Lightning takes 1 for one batch and 1.0 for all of them."""


def leaves(config: Any, prefix: str = "") -> dict[str, Any]:
    """The values of a nested config by dotted key: `{"model": {"cell": 1}}` -> `{"model.cell": 1}`.

    A list is one value, since its order counts; so is an empty mapping.
    """
    if isinstance(config, Mapping) and config:
        items = (leaves(value, f"{prefix}.{key}" if prefix else str(key)) for key, value in config.items())
        return {key: value for item in items for key, value in item.items()}
    return {prefix: config} if prefix else {}


def canonical(value: Any, key: str = "") -> Hashable:
    """A form of a value that equals another's exactly where both mean the same.

    Numbers compare by what they are worth, so 1 is 1.0 (but not for `key`s of the trainer); true is not 1, and the
    text '1' is no number.
    """
    if isinstance(value, bool):
        return "bool", value
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # as JSON holds it
    if isinstance(value, int | float):
        return (type(value).__name__, value) if key.startswith(COUNT_OR_SHARE) else ("number", value)
    if isinstance(value, Mapping):
        return "mapping", tuple(sorted((str(name), canonical(item, key)) for name, item in value.items()))
    if isinstance(value, list | tuple):
        return "list", tuple(canonical(item, key) for item in value)
    return value if value is None else str(value)


def spelled(values: Sequence[Any], key: str = "") -> list[str]:
    """The text of each value of one key, as Hydra writes it: one text for one value, and another for another.

    A number that stands as 1 and as 1.0 is written 1.0.
    """
    forms = [canonical(value, key) for value in values]
    texts: dict[Hashable, str] = {}
    for form, value in zip(forms, values, strict=True):
        texts[form] = max(texts.get(form, ""), _text(value), key=lambda text: (len(text), text))
    return [texts[form] for form in forms]


def _text(value: Any, inside: bool = False) -> str:
    if isinstance(value, Mapping):
        items = sorted((str(name), _text(item, inside=True)) for name, item in value.items())
        return f"{{{','.join(f'{name}:{text}' for name, text in items)}}}"
    if isinstance(value, list | tuple):
        return f"[{','.join(_text(item, inside=True) for item in value)}]"
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return repr(value)
    return _quoted(str(value), inside)


def _quoted(text: str, inside: bool) -> str:
    """Text in quotes where it would be read as something else."""
    special = text.startswith(("[", "{", "'")) or (inside and any(sign in text for sign in ",[]{}:'"))
    if special or text.lower() in WORDS or _is_number(text):
        return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
    return text


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
