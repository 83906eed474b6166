"""What a yaml from elsewhere may hold: text of a sensible size, and of Hydra's keys those that start nothing.

Hydra runs what stands in its own part of a config (launchers, sweepers). So that part of a composed config has to be
what the command line alone gives, wherever a yaml puts itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_research.config.environment import untyped
from rnn_research.errors import UsageError
from rnn_research.records import whole_file

ALLOWED = ("mode", "run.dir", "sweep.dir", "sweep.subdir", "sweeper.params", "job.name")
"""Hydra's keys that any yaml may set."""
OF_THE_COMMAND = ("launcher", "sweeper", "searchpath", "verbose", "job.env_set")
"""Hydra's further keys that the command line may set; a yaml too, where the command line trusts it."""
MADE = ("runtime", "overrides", "help", "hydra_help", "job.override_dirname", "job.num", "job.id", "job.config_name")
"""Hydra's keys that composing fills in."""
DEEP, MANY = 50, 100_000
"""How deep a yaml may be nested, and how many values it may have, each alias counted as what it stands for."""
SWEPT_KEY = re.compile(r"[+~]{0,2}[\w./-]+(@[\w.:-]+)?")
"""A key that a yaml may sweep: of one thing, without a value."""


def check_text(path: Path) -> None:
    """Raise a UsageError where a yaml is no text, or nested or repeated beyond what a config is: a few lines of aliases
    of aliases are millions of values, which Hydra would make before anything is looked at."""
    import yaml

    try:
        text = whole_file.text(path, whole_file.ANY)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: byte {error.start} is not UTF-8, expected a yaml") from error
    except OSError:  # Hydra tells it, if it is asked for
        return
    sizes: dict[str, int] = {}
    open_: list[tuple[str | None, int]] = [(None, 0)]
    with suppress(yaml.YAMLError):  # Hydra names the place
        for event in yaml.parse(text, Loader=yaml.SafeLoader):
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((event.anchor, 1))
                if len(open_) > DEEP:
                    raise UsageError(f"{path}: nested more than {DEEP} deep, expected a config")
                continue
            anchor, size = None, 0
            if isinstance(event, yaml.CollectionEndEvent):
                anchor, size = open_.pop()
            elif isinstance(event, yaml.ScalarEvent):
                anchor, size = event.anchor, 1
            elif isinstance(event, yaml.AliasEvent):
                size = sizes.get(event.anchor, 1)
            if anchor is not None:
                sizes[anchor] = size
            open_[-1] = (open_[-1][0], open_[-1][1] + size)
            if open_[-1][1] > MANY:
                raise UsageError(f"{path}: more than {MANY} values with its aliases, expected a config")


def check_hydra(config: Any, plain: Mapping[str, Any], typed: Mapping[str, Any], trusted: bool) -> None:
    """Check that Hydra's part of a composed config is the command line's own.

    Args:
        config: composed, with `hydra`.
        plain: that part as it is composed from the project's own yamls and the command line's overrides of it.
        typed: likewise, from the project's own yamls alone.
        trusted: the command line says `trust=[hydra]`.

    Raises:
        UsageError: a yaml sets a key that may start something, or the command line one that has no effect here.
    """
    if OmegaConf.is_interpolation(config, "hydra"):
        raise _refused("hydra")
    found: Any = OmegaConf.to_container(config.hydra, resolve=False)
    usual = dict(_leaves(plain))
    for key, value in {**dict.fromkeys(usual), **dict(_leaves(found))}.items():
        if _differ(value, usual.get(key)) and not _within(key, (*ALLOWED, *MADE)) and not trusted:
            raise _refused(f"hydra.{key}")
    default = dict(_leaves(typed))
    for key, value in _leaves(found):
        if _differ(value, default.get(key)) and not _within(key, (*ALLOWED, *MADE, *OF_THE_COMMAND)):
            raise UsageError(
                f"hydra.{key}: has no effect here, expected one of hydra.{', hydra.'.join(ALLOWED)}; leave it out"
            )


def _differ(one: Any, other: Any) -> bool:
    """Whether two values are not the same; nan is nan."""
    return one != other and (one == one or other == other)


def check_swept(params: Any, trusted: bool) -> None:
    """Check what a yaml says is swept: each key stands for one thing, and for none of Hydra's.

    Raises:
        UsageError: it does not.
    """
    if not isinstance(params, Mapping):
        raise UsageError(f"hydra.sweeper.params: given {params}, expected a mapping from keys to their values")
    for key in map(str, params):
        if key.lstrip("+~") == "experiment":
            raise UsageError(
                "hydra.sweeper.params.experiment: an experiment can't sweep over experiments; give them on the command "
                "line, as -m experiment=A,B"
            )
        moved = re.match(r"[+~]*(hydra|trust)\b", key) or re.search(r"@(:|.*:)?(hydra|trust)\b", key)
        if not SWEPT_KEY.fullmatch(key) or (moved and not trusted):
            raise _refused(f"hydra.sweeper.params.{key}")


def check_trust(config: Any, typed: Any) -> None:
    """Check that `trust` is what the command line says: what is trusted is the user's word.

    Raises:
        UsageError: a yaml gives it.
    """
    found = OmegaConf.to_container(config, resolve=False)["trust"]  # type: ignore[call-overload,index]
    if found != typed:
        raise UsageError(
            "trust: given in a yaml, expected on the command line alone: what is trusted is the user's word, as "
            "trust=[PACKAGE]"
        )


def check_environment(config: DictConfig, typed: Sequence[str]) -> None:
    """Check that a composed config reads of the environment what the command line says: a password there could be sent
    to anybody, as a part of an address.

    Raises:
        UsageError: a yaml reads some.
    """
    if key := untyped(config, typed):
        raise UsageError(
            f"{key}: reads the environment, which a yaml from elsewhere can't; give the value on the command line, or, "
            "if you trust the yaml, add trust=[environment]"
        )


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(node, dict) and path != "sweeper.params":
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, node


def _within(key: str, keys: tuple[str, ...]) -> bool:
    return any(key == one or key.startswith(f"{one}.") for one in keys)


def _refused(key: str) -> UsageError:
    return UsageError(
        f"{key}: can't be set in a yaml from elsewhere, expected of Hydra's keys one of "
        f"{', '.join(ALLOWED)}; give it on the command line, or, if you trust the yaml, add trust=[hydra]"
    )
