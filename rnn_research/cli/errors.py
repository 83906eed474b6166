"""What is said of a mistake in what was asked for: one line with what was given, what was expected, the repair.

Knows Hydra's errors and the system's; imports neither torch nor lightning, so that a mistake answers at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rnn_research.checks import nearest
from rnn_research.cli.console import STREAMS
from rnn_research.config.groups import CONF, config_dirs, options
from rnn_research.config.option_text import options_with

OTHER_FOLDER = "choose another folder with hydra.run.dir=FOLDER (or hydra.sweep.dir=FOLDER with -m)"
UNWRITABLE = (
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EEXIST,
    errno.ENAMETOOLONG,
    errno.ENOENT,
)
FULL = (errno.ENOSPC, errno.EDQUOT)


def os_error(error: BaseException, folder: Path | None) -> str:
    """What to say of an error in writing the output; empty where it is something else.

    Args:
        folder: the run's; None where it could not be made.
    """
    if not isinstance(error, OSError | RuntimeError):
        return ""
    number, given = getattr(error, "errno", None), getattr(error, "filename", None)
    if given in STREAMS:
        reason = getattr(error, "strerror", None) or error
        return f"{given}: can't be written ({reason}); what was trained before is in its folder"
    with contextlib.suppress(OSError):
        if folder is not None and shutil.disk_usage(folder).free < 1 << 16:
            number = errno.ENOSPC  # torch raises a RuntimeError
    if folder is None and str(given).endswith(".yaml") and os.path.lexists(str(given)):
        return f"{given}: can't be read ({getattr(error, 'strerror', None) or error}); mend the file's permissions"
    if re.search(r"\d+ requested and \d+ written", str(error)):
        number = errno.ENOSPC  # numpy gives no number
    where = f"output folder {folder or given or '?'}"
    if number in FULL:
        return f"{where}: the disk is full; free some space, or {OTHER_FOLDER}"
    ours = folder is None or (given is not None and Path(str(given)).is_relative_to(folder))
    if ours and (folder is None or number in UNWRITABLE):
        return f"{where}: can't be written ({getattr(error, 'strerror', None) or error}); {OTHER_FOLDER}"
    return ""


def composition_error(error: Exception, arguments: list[str]) -> str:
    """What to say of an error that Hydra or OmegaConf raised while composing the config."""
    text = " ".join(str(error).split())
    for say in (_syntax, _sweep, _option, _no_option, _key, _yaml):
        line = say(error, text, arguments)
        if line:
            return line
    if found := re.match(r"Error merging override \+*([\w.]+)=(.*)$", str(error)):
        cause = " ".join(str(error.__cause__ or "").split()).partition(" full_key")[0]
        return f"{found[1]}: given {found[2]}, expected another value: {cause}"
    key = re.search(r" full_key: (\S+)", text)
    text = re.sub(r" (full_key|object_type|reference_type)[:=] ?\S+| See https://hydra\.cc\S*( for details)?", "", text)
    return f"{key[1]}: {text}" if key else text


def _syntax(error: Exception, text: str, arguments: list[str]) -> str:
    """An argument that is no override."""
    from hydra.errors import OverrideParseException

    from rnn_research.config.parsed_overrides import parsed

    if not isinstance(error, OverrideParseException):
        return ""
    for argument in _overrides(arguments):
        if parsed(argument) is None:
            key, equals, value = argument.partition("=")
            if equals:
                return (
                    f"{key}: given {value!r}, expected a number, a word, or a list as [a,b]; text with other signs "
                    f"needs quotes within quotes: \"{key}='TEXT'\""
                )
            return _lone(argument, arguments)
    return ""


def _lone(word: str, arguments: list[str]) -> str:
    groups = _groups(arguments)
    if word in groups:
        return f"{word}: given no option, expected {word}=OPTION with one of {', '.join(groups[word])}"
    homes = {f"{group}={option}": option for group, members in groups.items() for option in members}
    fitting = [home for home, option in homes.items() if option == word]
    near = fitting or [home for home, option in homes.items() if nearest(word, [option])]
    hint = f" (did you mean {' or '.join(near[:2])}?)" if near else ""
    return f"given {word!r}, expected GROUP=OPTION or KEY=VALUE{hint}; rnn-train --help lists them"


def _sweep(error: Exception, text: str, arguments: list[str]) -> str:
    """Several values without -m."""
    found = re.search(r"(?:Ambiguous value for argument|Sweep parameters) '([^=']+)=(.*?)'(?: 1\.| requires)", text)
    if not found:
        return ""
    key, value = found.groups()
    return f"{key}: given several values, {value}; expected one, or -m for a sweep over them (a list is [a,b])"


def _option(error: Exception, text: str, arguments: list[str]) -> str:
    """A group that has no such option."""
    from hydra.errors import MissingConfigException

    if not isinstance(error, MissingConfigException) or not error.missing_cfg_file:
        return ""
    group, _, option = str(error.missing_cfg_file).rpartition("/")
    if group in ("hydra/launcher", "hydra/sweeper"):
        there = sorted(error.options or ())
        if close := nearest(option, there):
            return f"{group}: given {option!r}, expected one of {', '.join(there)}{close}"
        package = f"hydra-{option.replace('_', '-')}-{group.partition('/')[2]}"
        return (
            f"{group}: given {option!r}, which is not installed, expected one of {', '.join(there)}; leave it out, or "
            f"install Hydra's plugin if that is what you mean, as pip install {package}"
        )
    known = [name for name in error.options or () if not name.startswith("_")]
    groups = _groups(arguments)
    known = known or list(groups.get(group, ()))
    if not known:
        return ""
    homes = [f"{home}={option}" for home, members in groups.items() if option in members and home != "experiment"]
    hint = f" (did you mean {' or '.join(homes)}?)" if homes else nearest(option, known)
    inside = re.match(r"In '([^']+)'", text)
    where = f"{inside[1]}.yaml: " if inside and inside[1] != "train" else ""
    where = where or ("in a yaml, " if not any(option in argument for argument in arguments) else "")
    return f"{where}{group}: given {option!r}, expected one of {', '.join(known)}{hint}; rnn-train --help lists them"


def _no_option(error: Exception, text: str, arguments: list[str]) -> str:
    """A group that is given something which can't be an option's name."""
    groups = _groups(arguments)
    if not isinstance(error, ValueError) or "Config group override" not in text:
        return ""
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in groups and value not in groups[key] and not value.startswith("["):
            return f"{key}: given {value}, expected one of {', '.join(groups[key])}; rnn-train --help lists them"
        if not key:
            return f"given {argument!r}, expected GROUP=OPTION or KEY=VALUE; rnn-train --help lists them"
    return ""


def _key(error: Exception, text: str, arguments: list[str]) -> str:
    """A key that is not in the config, or is there already."""
    if found := re.search(r"Could not append to config\. An item is already at '([^']+)'", text):
        return f"+{found[1]}: the config has it already, expected {found[1]}=VALUE without the +"
    found = re.search(r"Could not (?:override|delete from config\.) '([^']+)'", text)
    if not found:
        return ""
    inside = re.match(r"In '([^']+)'", text)
    where = f"{inside[1]}.yaml: " if inside and inside[1] != "train" else ""
    known = _known_keys(arguments)
    if found[1] in known:
        return f"{found[1]}: unknown to one of the swept options, expected a key of all; sweep that option by itself"
    return f"{where}{unknown(found[1], known)}"


def unknown(key: str, known: list[str]) -> str:
    """What to say of a key that is none of `known`: its siblings, and the nearest of all."""
    parent, _, leaf = key.rpartition(".")
    if homes := options_with(parent, leaf, [CONF]):
        return f"{key}: unknown to the option of {parent} that is chosen; it is a key of {parent}={', '.join(homes)}"
    beside = [name.rpartition(".")[2] for name in known if parent and name.rpartition(".")[0] == parent]
    beside = [name for name in beside if not name.startswith("_")]
    if beside:
        hint, expected = nearest(leaf, beside), f"one of {', '.join(beside)}"
    else:
        known = [name for name in known if "._" not in name]
        same = [name for name in known if name.rpartition(".")[2] == leaf]
        hint = f" (did you mean {same[0]}?)" if same else nearest(key, known)
        expected = "a key or group of the config"
    return f"{key}: unknown, expected {expected}{hint}; rnn-train --cfg job prints the config"


def _yaml(error: Exception, text: str, arguments: list[str]) -> str:
    from yaml import MarkedYAMLError

    if not isinstance(error, MarkedYAMLError) or error.problem_mark is None:
        return ""
    mark = error.problem_mark
    return f"{mark.name}, line {mark.line + 1}: not valid YAML ({error.problem}); mend the file"


def _overrides(arguments: list[str]) -> list[str]:
    """The arguments that are neither flags nor a flag's value."""
    from rnn_research.cli import flags

    return flags.read(arguments).overrides


def _groups(arguments: list[str]) -> dict[str, dict[str, str]]:
    return options([CONF, *config_dirs(arguments)])


def _known_keys(arguments: list[str]) -> list[str]:
    """Every group, and every key of the config that the valid group choices among `arguments` give."""
    from omegaconf import OmegaConf

    from rnn_research.config.compose import Composer

    groups = _groups(arguments)
    split = [argument.partition("=") for argument in arguments]
    firsts = [(key, re.match(r"(\[[^\]]*\]|[^,]*)", value)[0]) for key, _, value in split]  # type: ignore[index]
    chosen = [f"{key}={value}" for key, value in firsts if value.startswith("[") or value in groups.get(key, ())]
    chosen = [choice for choice in chosen if choice.partition("=")[0] in groups]
    with contextlib.suppress(Exception):
        cfg = OmegaConf.to_container(Composer(tuple(config_dirs(arguments))).compose(chosen))
        return list(dict.fromkeys([*groups, *map(partial(_short, cfg), _flat(cfg, ""))]))
    return list(groups)


def _short(cfg: Any, key: str) -> str:
    """The key, without the name of an option that is the only one taken of its group (see `names`)."""
    from rnn_research.config.groups import LISTS
    from rnn_research.config.short_keys import selected_options

    group, _, rest = key.partition(".")
    lone = group in LISTS and "." in rest and isinstance(cfg[group], dict) and len(selected_options(cfg[group])) == 1
    return f"{group}.{rest.partition('.')[2]}" if lone else key


def _flat(node: Any, path: str) -> Iterator[str]:
    for key, value in node.items():
        yield f"{path}{key}"
        if isinstance(value, dict):
            yield from _flat(value, f"{path}{key}.")
