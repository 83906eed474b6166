"""What `rnn-train -m` may be told of a sweep as a whole, beside the options of its runs."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from rnn_research.errors import UsageError

HELP = {
    "workers": ("auto", "auto: a process for each core, or each GPU; N: so many; 1: in this process; 0: none"),
    "retry": ("0", "how often a run that failed is tried again"),
    "fail_fast": ("false", "true: stop at the first run that fails"),
    "dry_run": ("false", "true: say what would happen to each run, and do nothing"),
    "confirm_above": ("200", "ask before more runs than this are started"),
    "yes": ("false", "true: start them without asking"),
    "extend": ("true", "false: a longer run does not go on from a shorter one that is done, but starts anew"),
    "stale": ("warn", "runs that are there, made by other code: warn, skip (say nothing), rerun (train them anew)"),
    "exclude": ("none", "runs to leave out, as 'model=gru,structure=parse'; may be given several times"),
    "zip": ("none", "swept keys that vary together, as 'seed,dataset.length'; may be given several times"),
}
"""Key -> its default, and what it means."""


BETWEEN = re.compile(r",(?![^\[]*\])")
"""A comma that is in no list."""


@dataclass(frozen=True)
class SweepOptions:
    """What was asked of the sweep; `given` are the keys that were typed."""

    workers: int | None = None
    retry: int = 0
    fail_fast: bool = False
    dry_run: bool = False
    confirm_above: int = 200
    yes: bool = False
    extend: bool = True
    stale: str = "warn"
    exclude: tuple[dict[str, str], ...] = ()
    zip: tuple[tuple[str, ...], ...] = ()
    given: tuple[str, ...] = field(default=())


def read(overrides: Sequence[str]) -> tuple[SweepOptions, list[str]]:
    """The options among the overrides of a command line, and the other overrides.

    Raises:
        UsageError: a value is none of its key's, or a key is given twice.
    """
    found, rest = SweepOptions(), []
    for text in overrides:
        key, equals, value = text.partition("=")
        if key not in HELP or not equals:
            rest.append(text)
            continue
        if key in found.given and key not in ("exclude", "zip"):
            raise UsageError(f"{key}: given twice; give it once")
        found = replace(found, **{key: _value(found, key, value.strip("'\"")), "given": (*found.given, key)})
    return found, rest


def _value(found: SweepOptions, key: str, value: str) -> Any:
    if key == "exclude":
        pairs = [part.partition("=") for part in BETWEEN.split(value)]
        if not all(name and equals for name, equals, _ in pairs):
            raise UsageError(f"exclude: given {value!r}, expected pairs, as 'model=gru,structure=parse'")
        return (*found.exclude, {name.strip(): given.strip() for name, _, given in pairs})
    if key == "zip":
        keys = tuple(part.strip() for part in value.split(","))
        if len(keys) < 2 or not all(keys) or len(set(keys)) < len(keys):
            raise UsageError(f"zip: given {value!r}, expected two or more swept keys, as 'seed,dataset.length'")
        return (*found.zip, keys)
    if key == "stale":
        if value not in ("warn", "skip", "rerun"):
            raise UsageError(f"stale: given {value!r}, expected warn, skip or rerun")
        return value
    if key in ("fail_fast", "dry_run", "yes", "extend"):
        if value.lower() not in ("true", "false"):
            raise UsageError(f"{key}: given {value!r}, expected true or false")
        return value.lower() == "true"
    if key == "workers" and value == "auto":
        return None
    if not value.isdecimal():
        also = "auto or " if key == "workers" else ""
        raise UsageError(f"{key}: given {value!r}, expected {also}an integer >= 0")
    return int(value)


def excluded(rule: dict[str, str], choices: dict[str, str], values: Mapping[str, Any]) -> bool:
    """Whether a run is one that a rule leaves out: it has all of the rule's options and values.

    Args:
        choices: Hydra's.
        values: the run's, see `config.queue.values_of`.
    """
    from rnn_research.config.groups import LISTS
    from rnn_research.config.parsed_overrides import parsed
    from rnn_research.config.short_keys import names, written_out
    from rnn_research.records.canonical import canonical

    for key, value in rule.items():
        if key in LISTS:
            chosen, wanted = names(values, key, choices) or ["none"], value.strip("[]").replace(" ", "").split(",")
            if wanted != chosen and (len(wanted) > 1 or wanted[0] not in chosen):
                return False
            continue
        if key in choices:
            if value != choices[key]:
                return False
            continue
        long = written_out([f"{key}={value}"], values)[0]
        override = parsed(long)
        given = value if override is None else override.value()
        there: Any = values
        for part in long.partition("=")[0].split("."):
            there = there.get(part) if isinstance(there, Mapping) else None
        if canonical(there, key) != canonical(given, key):
            return False
    return True


def cores() -> int:
    """The cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # elsewhere than on Linux
        return os.cpu_count() or 1


def gpus() -> list[str]:
    """The numbers of the GPUs that this process may use, without a look at CUDA: it could not be shared out then."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [part.strip() for part in visible.split(",") if part.strip() not in ("", "-1")]
    try:
        return [str(number) for number, _ in enumerate(Path("/proc/driver/nvidia/gpus").iterdir())]
    except OSError:
        return []
