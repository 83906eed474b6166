"""What a yaml from elsewhere may say to Hydra: where runs lie and what is swept, and nothing that starts anything.

Hydra calls what stands in its own part of a config (callbacks, launchers, factories of log handlers), sets environment
variables from it, and imports the modules of its search path: all before a run begins. So each yaml is looked at as it
is loaded, where it is not from this project or an installed package, and wherever in the config it puts itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from rnn_research.config.groups import CONF
from rnn_research.errors import UsageError

ALLOWED = ("mode", "run.dir", "sweep.dir", "sweep.subdir", "sweeper.params", "job.name")
"""Keys of Hydra's that start nothing."""
DEEP, MANY = 50, 100_000
"""How deep a yaml may be nested, and how many values it may have, each alias counted as what it stands for."""
KEY = re.compile(r"[+~]{0,2}[\w./-]+(@[\w.:-]+)?")
"""A key of an override: of one thing, without a value."""


@contextmanager
def guarded(overrides: list[str]) -> Iterator[None]:
    """Refuse, while Hydra composes, what a yaml from elsewhere may not say.

    Args:
        overrides: the command line's, which alone gives `trust`; with `trust=[hydra]` all of Hydra's keys are allowed.
    """
    from hydra._internal.config_loader_impl import ConfigLoaderImpl

    load, search = ConfigLoaderImpl._load_single_config, ConfigLoaderImpl._process_config_searchpath
    trusted = "hydra" in _trusted(overrides)

    def checked(self: Any, default: Any, repo: Any) -> Any:
        result = load(self, default, repo)
        if not _own(result.path, default.config_path, default.package):
            check(result.config, str(default.config_path), trusted)
        return result

    def searched(self: Any, config_name: str | None, parsed: Any, repo: Any) -> None:
        loaded = repo.load_config(config_path=config_name) if config_name is not None else None
        elsewhere = loaded is not None and not _own(loaded.path, config_name, None)
        if (
            loaded is not None
            and elsewhere
            and not trusted
            and OmegaConf.select(loaded.config, "hydra.searchpath") is not None
        ):
            raise _refused(str(config_name), "hydra.searchpath")
        search(self, config_name, parsed, repo)

    ConfigLoaderImpl._load_single_config = checked  # type: ignore[method-assign]
    ConfigLoaderImpl._process_config_searchpath = searched  # type: ignore[method-assign]
    try:
        yield
    finally:
        ConfigLoaderImpl._load_single_config = load  # type: ignore[method-assign]
        ConfigLoaderImpl._process_config_searchpath = search  # type: ignore[method-assign]


def check_text(path: Path) -> None:
    """Raise a UsageError where a yaml is no text, or nested or repeated beyond what a config is: a few lines of aliases
    of aliases are millions of values, which Hydra would make before anything is looked at."""
    import yaml

    try:
        text = path.read_text(encoding="utf-8")
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


def check(config: Any, name: str, trusted: bool = False) -> None:
    """Raise a UsageError where a yaml gives `trust`, or of Hydra's keys one that is not `ALLOWED`.

    Args:
        config: what the yaml adds to the whole config, from the top.
        name: of the yaml, for the message.
        trusted: all of Hydra's keys are allowed.
    """
    if not isinstance(config, DictConfig) or config._is_none() or config._is_missing() or config._is_interpolation():
        return
    raw: Any = OmegaConf.to_container(config, resolve=False)
    for key in map(str, raw):
        if key == "trust":
            raise UsageError(
                f"{name}.yaml: trust: given in a yaml, expected on the command line alone: what is trusted is the "
                "user's word, as trust=[PACKAGE]"
            )
        if key == "hydra" and not trusted:
            _check_hydra(raw[key], name)


def _check_hydra(node: Any, name: str) -> None:
    for key, value in _leaves(node, ""):
        if not any(key == allowed or key.startswith(f"{allowed}.") for allowed in ALLOWED):
            raise _refused(name, f"hydra.{key}".rstrip("."))
        if key == "sweeper.params" and value is not None:  # a mapping has leaves: this is an interpolation, or a list
            raise _refused(name, "hydra.sweeper.params")
    swept = (node.get("sweeper") or {}).get("params") or {}
    for key in map(str, swept):
        if (
            not KEY.fullmatch(key)
            or re.match(r"[+~]*(hydra|trust)\b", key)
            or re.search(r"@(:|.*:)?(hydra|trust)\b", key)
        ):
            raise _refused(name, f"hydra.sweeper.params.{key}")


def _leaves(node: Any, path: str) -> Iterator[tuple[str, Any]]:
    """The leaves of Hydra's part by dotted key; below what is swept, keys have dots of their own."""
    if isinstance(node, dict) and path != "sweeper.params":
        for key, value in node.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, None if isinstance(node, dict) else node


def _refused(name: str, key: str) -> UsageError:
    return UsageError(
        f"{name}.yaml: {key}: can't be set in a yaml from elsewhere, expected of Hydra's keys one of "
        f"{', '.join(ALLOWED)}; give it on the command line, or, if you trust the yaml, add trust=[hydra]"
    )


def _own(source: str | None, path: str | None, package: str | None) -> bool:
    """Whether a yaml is this project's, put where it belongs, or of an installed package."""
    if str(source).startswith(("pkg://", "structured://")):
        return True
    moved = re.split(r"[.\[]", str(package or ""))[0] in ("hydra", "trust")
    return str(source) in (str(CONF), f"file://{CONF}") and not moved


def _trusted(overrides: list[str]) -> set[str]:
    """The packages that the command line names in `trust`, one list or several to sweep over."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    found: set[str] = set()
    for text in overrides:
        try:
            override = OverridesParser.create().parse_override(text)
        except HydraException:  # it is told when Hydra parses it again
            continue
        if override.key_or_group == "trust":
            values = override.sweep_iterator() if override.is_sweep_override() else [override.value()]
            found |= {str(item) for value in values if isinstance(value, list) for item in value}
    return found
