"""What is wrong with the overrides of a command line, found before Hydra composes them; and what it would not find.

Imports neither torch nor lightning, so that a mistake answers at once.
"""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.types import ChoiceSweep, Glob, Override, RangeSweep, ValueType

from rnn_research.config.counterfactual_keys import expand
from rnn_research.config.groups import CONF, LISTS, config_dirs, options
from rnn_research.config.parsed_overrides import parsed
from rnn_research.config.resources import available, size
from rnn_research.errors import UsageError

log = logging.getLogger(__name__)

OF_A_RUN = 150_000
"""Bytes that a composed run takes: all of a sweep are composed before the first one starts."""
OF_A_COMPOSITION = 0.001
"""Seconds, at least, to compose one whose values alone differ from another's: a new option takes 200 times that."""
MANY_RUNS = 2000
LONGEST_KEY = 200


def checked(overrides: list[str], arguments: list[str], searched: bool = False) -> list[str]:
    """The overrides, with `glob(...)` written out as the options that it stands for.

    Args:
        searched: a study chooses among the values: how many there are does not matter, and there may be intervals.

    Raises:
        UsageError: a key is given twice, an option twice in a list, `none` beside others, or a sweep has no values,
            or more than can be kept.
    """
    written = [_written_out(text, arguments) for text in overrides]
    read = [override for override in map(parsed, expand(written)) if override is not None]
    _check_keys(read)
    runs = 1
    for override in read:
        runs *= 1 if searched else _count(override)
        _check_lists(override)
    needed, there = runs * OF_A_RUN, available()
    if needed > there:
        raise UsageError(
            f"a sweep of {runs} runs: their configs alone need {size(needed)} of memory, and {size(there)} are free; "
            "sweep over fewer values"
        )
    if runs > MANY_RUNS:
        log.warning("a sweep of %d runs: composing their configs takes %.0f s or more", runs, runs * OF_A_COMPOSITION)
    return written


def _written_out(text: str, arguments: list[str]) -> str:
    """Hydra's own reading of a glob also takes the yamls that are parts of others."""
    override = parsed(text)
    if override is None or override.value_type is not ValueType.GLOB_CHOICE_SWEEP:
        return text
    glob, key, value = override.value(), text.partition("=")[0], text.partition("=")[2]
    assert isinstance(glob, Glob)
    known = options([CONF, *config_dirs(arguments)]).get(override.key_or_group)
    if known is None:
        raise UsageError(
            f"{override.key_or_group}: given {value}, which lists the options of a group, and this is none; "
            f"expected a value, or several as {override.key_or_group}=A,B"
        )
    found = glob.filter(list(known))
    if not found:
        raise UsageError(f"{key}: given {value}, which fits none of {', '.join(known)}; expected one that does")
    return f"{key}={','.join(found)}" if len(found) > 1 else f"{key}={found[0]}"


def _check_keys(overrides: list[Override]) -> None:
    """Of two values of one key Hydra takes the last, and says nothing."""
    before: dict[str, str] = {}
    for override in overrides:
        key, value = override.get_key_element().lstrip("+~"), str(override.input_line).partition("=")[2]
        if len(key) > LONGEST_KEY:  # Hydra looks for a file of that name
            raise UsageError(f"{key[:40]}...: unknown, a key of {len(key)} characters; rnn-train --cfg job prints them")
        if override.is_delete():
            continue
        if before.setdefault(key, value) != value:
            raise UsageError(
                f"{key}: given twice, {key}={before[key]} and {key}={value}; give it once (or -m {key}=A,B for both)"
            )


def _count(override: Override) -> int:
    """How many values an override has.

    Raises:
        UsageError: none, or more than can be counted.
    """
    value, text = override.value(), str(override.input_line).partition("=")[2]
    if override.value_type is ValueType.INTERVAL_SWEEP:
        raise UsageError(
            f"{override.key_or_group}: given {text}, which has no single values; expected some, as "
            f"{override.key_or_group}=range(0,3) or {override.key_or_group}=0,1,2"
        )
    if isinstance(value, RangeSweep):
        start, stop, step = (float(part or 0) for part in (value.start, value.stop, value.step))
        count = max(0, math.ceil((stop - start) / step)) if step and math.isfinite(stop - start) else 0
        if count == 0:
            raise UsageError(
                f"{override.key_or_group}: given {text}, which holds no value; expected some, as "
                f"{override.key_or_group}=range(0,3) or {override.key_or_group}=0,1,2"
            )
        return count
    return len(value.list) if isinstance(value, ChoiceSweep) else 1


def _check_lists(override: Override) -> None:
    """An option that is given twice in a list, or `none` beside others: Hydra would take each once, and say nothing."""
    for value in _values(override) if override.key_or_group in LISTS else ():
        names = [str(name) for name in value] if isinstance(value, list) else []
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            raise UsageError(f"{override.key_or_group}: given {twice[0]} twice, expected each option once")
        if "none" in names and len(names) > 1:
            others = ",".join(name for name in names if name != "none")
            raise UsageError(f"{override.key_or_group}: given none beside {others}, which contradict; leave none out")


def _values(override: Override) -> Iterator[Any]:
    if isinstance(override.value(), ChoiceSweep):
        yield from override.sweep_iterator()
    elif not override.is_sweep_override():
        yield override.value()
