"""Checks of what a user typed: one clear `ValueError` that says what was given, and what was expected.

Constructors call these with the name of the key: a notebook and the command line get the same message.
"""

from __future__ import annotations

import difflib
import math
import os
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

LARGEST = 2**63 - 1
"""The largest integer that tensors and arrays hold."""
LONGEST_NAME = 255
"""Bytes that a file's name may have."""


def integer(name: str, value: Any, least: int = 1, most: int | None = None) -> int:
    """`value`, an integer in [least, most]; in any case at most `LARGEST`.

    Raises:
        ValueError: it is not an integer (a bool is not one), or is out of range.
    """
    whole, bound = isinstance(value, int) and not isinstance(value, bool), LARGEST if most is None else most
    if not whole or not least <= value <= bound:
        limit = f">= {least}" if most is None and not (whole and value > bound) else f"from {least} to {bound}"
        raise ValueError(f"{name}: given {value!r}, expected an integer {limit}")
    return value


def integers(name: str, values: Any, least: int = 1, most: int | None = None) -> tuple[int, ...]:
    """`values`, a list of different integers in [least, most]; None is the empty list.

    Raises:
        ValueError: it is not a list, or has a member that is no such integer, or one twice.
    """
    if values is None:
        return ()
    if not isinstance(values, list | tuple) or len(set(map(str, values))) < len(values):
        raise ValueError(f"{name}: given {values!r}, expected a list of different integers, such as [{least}], or null")
    return tuple(integer(name, value, least, most) for value in values)


def number(
    name: str,
    value: Any,
    least: float | int | None = None,
    above: float | int | None = None,
    most: float | int | None = None,
    infinite: bool = False,
) -> float:
    """`value` as a float, finite (or `infinite`, where that is allowed), `least <= value`, `above < value`,
    `value <= most`.

    Raises:
        ValueError: it is not a number, or is out of range.
    """
    limits = [f"{sign} {bound:g}" for sign, bound in ((">=", least), (">", above), ("<=", most)) if bound is not None]
    fits = (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and (isinstance(value, float) or abs(value) <= sys.float_info.max)
        and (math.isfinite(value) or (infinite and value == math.inf))
        and (least is None or value >= least)
        and (above is None or value > above)
        and (most is None or value <= most)
    )
    if not fits:
        endless = isinstance(value, float) and math.isinf(value) and not infinite
        kind = "a finite number" if endless else "a number"
        raise ValueError(f"{name}: given {value!r}, expected {kind} {' and '.join(limits)}".rstrip())
    return float(value)


def flag(name: str, value: Any) -> bool:
    """`value`, true or false.

    Raises:
        ValueError: it is neither.
    """
    if not isinstance(value, bool):
        raise ValueError(f"{name}: given {value!r}, expected true or false")
    return value


def choice(name: str, value: Any, options: Iterable[str]) -> str:
    """`value`, one of `options`.

    Raises:
        ValueError: it is not one of them; the nearest is suggested.
    """
    options = list(options)
    if value not in options:
        raise ValueError(f"{name}: given {value!r}, expected one of {', '.join(options)}{nearest(value, options)}")
    return value


def path_of(name: str, value: Any) -> Path:
    """`value` as a path, with the user's home for ~.

    Raises:
        ValueError: it names none, or a home that there is not: some containers know no user; or no system has such
            long names.
    """
    if isinstance(value, bool) or not isinstance(value, str | int | Path) or not str(value).strip():
        raise ValueError(f"{name}: given {value!r}, expected a folder's path, or null")
    if long := [part for part in Path(str(value)).parts if len(os.fsencode(part)) > LONGEST_NAME]:
        raise ValueError(
            f"{name}: given a name of {len(os.fsencode(long[0]))} bytes, {long[0][:20]}...; expected at most "
            f"{LONGEST_NAME}"
        )
    try:
        return Path(str(value)).expanduser()
    except RuntimeError:
        raise ValueError(f"{name}: given {value!r}, but there is no such home folder; give the path in full") from None


def word(name: str, value: Any) -> str | None:
    """`value`, some text, or None.

    Raises:
        ValueError: it is neither.
    """
    if value is not None and (not isinstance(value, str) or not value.strip()):
        raise ValueError(f"{name}: given {value!r}, expected some text, or null")
    return value


def nearest(value: Any, options: Iterable[str]) -> str:
    """` (did you mean X?)`, or nothing where no option is near."""
    close = difflib.get_close_matches(str(value), list(options), n=1)
    return f" (did you mean {close[0]}?)" if close else ""
