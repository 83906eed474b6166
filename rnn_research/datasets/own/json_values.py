"""What a value in a file of JSON says, where a text is wanted."""

from __future__ import annotations

import math
from typing import Any


def plain_text(value: Any) -> str:
    """A text, a number, true or false as text; "" for null.

    Raises:
        ValueError: it is a list, an object, or NaN or an infinity, which are no JSON: some programs write NaN where
            there is no value, and it would be a word or a class of its own.
    """
    if isinstance(value, dict | list):
        raise ValueError(f"found {type(value).__name__}")
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"found {value}")
    return "" if value is None else str(value)
