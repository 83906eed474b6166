"""The flags of `rnn-train`, and what is refused of a command line before anything is composed."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from rnn_research import __version__
from rnn_research.checks import nearest
from rnn_research.config.groups import LISTS, ONE, REFUSED, TABLE
from rnn_research.errors import UsageError

TO_HYDRA = ("info", "hydra_help", "shell_completion")
"""Flags that Hydra's own command answers: they start nothing."""
GONE = {
    "experimental_rerun": "not supported, since it runs whatever the file holds; give the run's options again",
    "config_name": "not supported, the config is rnn_research's own; give options in a --config-dir FOLDER",
    "config_path": "not supported, the config is rnn_research's own; give options in a --config-dir FOLDER",
}


@dataclass(frozen=True)
class CommandLine:
    """What was typed.

    Attributes:
        overrides: as typed.
        folders: the user's config folders.
        cfg: the part of the config to print, instead of a training.
        package: of that, the part to print.
        to_hydra: the flags that Hydra's own command answers.
    """

    overrides: list[str]
    folders: list[Path] = field(default_factory=list)
    multirun: bool = False
    cfg: str | None = None
    package: str | None = None
    resolve: bool = False
    version: bool = False
    to_hydra: list[str] = field(default_factory=list)


def read(arguments: list[str]) -> CommandLine:
    """Return what the arguments of the command say.

    Raises:
        UsageError: a flag that there is not, or a key that is refused by name, before Hydra calls it unknown.
    """

    def refuse(message: str) -> None:
        near = nearest(message.rpartition(" ")[2], parser._option_string_actions)
        raise UsageError(f"{message}{near}; rnn-train --help shows how it is called")

    parser = _parser(refuse)
    behind = [*arguments[1:], ""]
    arguments = [  # else it would take the override behind it for what is asked
        "--info=all" if argument in ("-i", "--info") and ("=" in after or not after) else argument
        for argument, after in zip(arguments, behind, strict=True)
    ]
    found, rest = parser.parse_known_args(arguments)
    for flag, why in GONE.items():
        if getattr(found, flag) is not None:
            refuse(f"--{flag.replace('_', '-')}: {why}")
    overrides = [*found.overrides, *rest]
    for argument in overrides:
        _check(argument, refuse)
    if found.package and not found.cfg:
        refuse(f"--package: given {found.package}, which tells --cfg what to print; add --cfg job")
    if found.resolve and not found.cfg:
        refuse("--resolve: given, which tells --cfg how to print; add --cfg job")
    if found.cfg and found.multirun:
        refuse("--cfg: given with --multirun, expected one config to print; leave out -m and the sweep")
    asked = [flag for flag in TO_HYDRA if getattr(found, flag)]
    return CommandLine(
        [argument for argument in arguments if argument in overrides],
        [Path(folder) for folder in found.config_dir],
        found.multirun,
        found.cfg,
        found.package,
        found.resolve,
        found.version,
        [argument for argument in arguments if argument not in overrides] if asked else [],
    )


def _check(argument: str, refuse: Callable[[str], None]) -> None:
    key, equals, value = argument.lstrip("+~").partition("=")
    if argument.startswith("-"):
        refuse(f"unrecognized argument: {argument}")
    if equals and not key:
        raise UsageError(f"given {argument!r}, expected GROUP=OPTION or KEY=VALUE")
    if key in REFUSED:
        raise UsageError(f"{key}: {REFUSED[key]}")
    if key in ONE and value.startswith("["):
        raise UsageError(f"{key}: given {value}, expected one option, without brackets")
    if argument.startswith("~") and key in LISTS:
        raise UsageError(f"~{key}: a list of options can't be taken out, expected {key}=none")
    if argument.startswith("+") and key in TABLE and equals:
        raise UsageError(f"+{key}: the config has the group already, expected {key}={value} without the +")


def _parser(refuse: Callable[[str], None]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(add_help=False, prog="rnn-train")
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("overrides", nargs="*")
    parser.add_argument("--help", "-h", action="store_true")
    parser.add_argument("--version", action="store_true")
    parser.add_argument("--multirun", "-m", action="store_true")
    parser.add_argument("--run", "-r", action="store_true")
    parser.add_argument("--config-dir", "-cd", action="append", default=[])
    parser.add_argument("--cfg", "-c", choices=["job", "hydra", "all"])
    parser.add_argument("--package", "-p")
    parser.add_argument("--resolve", action="store_true")
    parser.add_argument(
        "--info",
        "-i",
        nargs="?",
        const="all",
        choices=["all", "config", "defaults", "defaults-tree", "plugins", "searchpath"],
    )
    parser.add_argument("--hydra-help", action="store_true")
    parser.add_argument("--shell-completion", "-sc", action="store_true")
    for flag in GONE:
        parser.add_argument(f"--{flag.replace('_', '-')}")
    return parser


def version() -> str:
    """Return what `--version` prints."""
    return f"rnn_research {__version__}"
