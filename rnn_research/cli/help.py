"""What `rnn-train --help` prints, read from the yamls in conf/ and in a user's folder. Composes no config."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from rnn_research.checks import nearest
from rnn_research.cli.sweep_options import HELP
from rnn_research.config.groups import CONF, SAME, config_dirs, options
from rnn_research.config.option_text import Key, option_path, read_option, read_study, stage_of
from rnn_research.errors import UsageError

WIDTH = 100
"""Columns of every line."""
BEHIND = 27
"""The column at which a description begins."""
STAGES = {
    "clipping": ("the parameters' gradient", "the step", "inside backpropagation", "the graph"),
    "regularizer": ("the gradient", "the loss", "the weights"),
}
"""Where strategies and regularizers act, in the order of docs/strategies.md."""
VALUED = ("--config-dir", "-cd", "--config-path", "-cp", "--config-name", "-cn", "--cfg", "-c", "--package", "-p")
"""Flags that the next argument belongs to."""
USAGE = """\
rnn-train: does the gradient vanish, and what does clipping do about it?

usage: rnn-train [GROUP=OPTION ...] [KEY=VALUE ...]           one run
       rnn-train -m GROUP=OPTION,OPTION KEY=VALUE,VALUE ...   a sweep: every combination
       rnn-train experiment=NAME                              a study with a question
       rnn-train --config-dir FOLDER ...                      with your own options beside these
       rnn-train --cfg job ...                                print the config, train nothing
       rnn-train --help GROUP=OPTION                          one option: its keys, what each means
       rnn-compare FOLDER                                     compare the runs in a folder

often used: hidden_size=64 model.match_parameters=20000 dataset.length=50
            dataset.batch_size=32 dataset.root=FOLDER clipping.max_norm=1.0 optimizer.lr=0.001
            trainer.max_steps=500 trainer.max_epochs=10 hydra.run.dir=FOLDER
            (with -m: hydra.sweep.dir=FOLDER)
"""
LISTS = """\
init=, clipping=, regularizer=, probe= and logger= take lists, in order:
clipping=[value,global_norm]. An option's keys stand below its name: clipping.value.max_value=0.1."""


class Asked(NamedTuple):
    """What the arguments beside `--help` name."""

    groups: list[str]
    options: list[tuple[str, str]]
    scalars: list[str]


def help_text(arguments: list[str]) -> str:
    """The options, groups and keys that the arguments name; where they name none, the whole help.

    Raises:
        UsageError: an argument names an option or a group that there is not.
    """
    folders = [CONF, *config_dirs(arguments)]
    own = [Key(name, default, meaning) for name, (default, meaning) in HELP.items()]
    scalars = {key.name: key for key in (*read_option(CONF / "train.yaml", []).keys, *own)}
    asked = _asked(arguments, folders, list(scalars))
    if not any(asked):
        return "\n".join(_whole(folders, list(scalars.values())))
    lines: list[str] = []
    for name in asked.scalars:
        lines += [*_key_lines([scalars[name]], ""), ""]
    for group in asked.groups:
        lines += [*_group(group, folders), ""]
    for group, option in asked.options:
        lines += [*_option(group, option, folders), ""]
    return "\n".join([*lines, "rnn-train --help lists every group and option"])


def _whole(folders: list[Path], scalars: list[Key]) -> Iterator[str]:
    yield USAGE
    yield "keys that belong to no group:"
    yield from _key_lines([key for key in scalars if key.name not in HELP], "")
    yield ""
    yield "of a sweep as a whole (-m):"
    yield from _key_lines([key for key in scalars if key.name in HELP], "")
    yield ""
    for group in options(folders):
        yield from _group(group, folders)
        yield ""
    yield LISTS


def _asked(arguments: list[str], folders: list[Path], scalars: list[str]) -> Asked:
    groups = options(folders)
    asked = Asked([], [], [])
    for argument in _words(arguments):
        text = argument.lstrip("+~")
        key, given, value = SAME.get(text, text).partition("=")
        homes = [group for group, members in groups.items() if key in members]
        if key in groups and given:
            asked.options.extend((key, name) for name in _names(key, value, list(groups[key])))
        elif key in groups:
            asked.groups.append(key)
        elif key in scalars:
            asked.scalars.append(key)
        elif homes and not given:
            asked.options.extend((group, key) for group in homes)
        elif not given:
            near = nearest(key, [*groups, *scalars, *(option for members in groups.values() for option in members)])
            raise UsageError(
                f"--help: given {key!r}, expected a group or GROUP=OPTION{near}; rnn-train --help lists them"
            )
    return asked


def _words(arguments: list[str]) -> Iterator[str]:
    """The arguments that are neither flags nor a flag's value."""
    for before, argument in zip(["", *arguments], arguments, strict=False):
        if not argument.startswith("-") and before not in VALUED:
            yield argument


def _names(group: str, value: str, known: list[str]) -> list[str]:
    """The options that a choice, a list or a sweep names.

    Raises:
        UsageError: there is no such option.
    """
    names = [name for name in re.split(r"[\s,\[\]'\"]+", value) if re.fullmatch(r"[\w-]+", name) and name != "null"]
    for name in names:
        if name not in known:
            near = nearest(name, known)
            raise UsageError(
                f"{group}: given {name!r}, expected one of {', '.join(known)}{near}; rnn-train --help lists them"
            )
    return list(dict.fromkeys(names))


def _group(group: str, folders: list[Path]) -> Iterator[str]:
    """A group's options, a line each, by the stage at which they act."""
    members = options(folders)[group]
    built_in = options([CONF]).get(group, {})
    stages = {name: _stage(group, name, folders) for name in members}
    known = ("", *STAGES.get(group, ()))
    others = sorted(set(stages.values()) - set(known))
    yield f"{group}="
    for stage in (*known, *others):
        within = sorted(name for name in members if stages[name] == stage)
        if stage and within:
            yield f"  -- {stage}"
        for name in within:
            path = option_path(group, name, folders)
            replaces = name in built_in and path is not None and not path.is_relative_to(CONF)
            note = f" ({path}, in place of the built-in option)" if replaces else ""
            yield from _wrapped(name, f"{members[name]}{note}", BEHIND)


def _stage(group: str, name: str, folders: list[Path]) -> str:
    path = option_path(group, name, folders) if group in STAGES else None
    return "" if path is None else stage_of(path)


def _option(group: str, name: str, folders: list[Path]) -> Iterator[str]:
    """All that an option's yaml says of it: its description, its commands, its keys."""
    path = option_path(group, name, folders)
    assert path is not None
    text = read_option(path, folders)
    opening, *others = text.header or [""]
    yield from textwrap.wrap(f"{group}={name}: {opening}", WIDTH, subsequent_indent="  ")
    if not path.is_relative_to(CONF):
        yield f"  in {path}"
    if text.stage:
        yield f"  acts on: {text.stage}"
    yield from _paragraphs(others)
    if group == "experiment":
        yield from _study(path, text.keys)
    elif text.keys:
        yield ""
        yield from _key_lines(text.keys, f"{group}.")
    if nested := [key for key in text.keys if key.name.startswith(f"{name}.")]:
        short = nested[0].name.removeprefix(f"{name}.")
        yield ""
        yield f"  Where {name} is the only option, its name may be left out: {group}.{short}={nested[0].default}"


def _study(path: Path, keys: list[Key]) -> Iterator[str]:
    """What an experiment chooses, sweeps and sets."""
    chosen, swept = read_study(path)
    for title, values in (("chooses", chosen), ("sweeps", swept)):
        if values:
            yield ""
            yield f"  {title}"
            for key, texts in values.items():
                yield from _filled(f"    {key}: {', '.join(texts)}")
    if keys:
        yield ""
        yield "  sets"
        yield from _key_lines([key._replace(name=f"  {key.name}") for key in keys], "")


def _paragraphs(lines: Iterable[str]) -> Iterator[str]:
    """The lines of a comment, filled anew; a line that is indented is a command, and stays one."""
    prose: list[str] = []
    for line in [*lines, ""]:
        if line.strip() and not line.startswith(" "):
            prose.append(line)
            continue
        yield from textwrap.wrap(" ".join(prose), WIDTH, initial_indent="  ", subsequent_indent="  ")
        prose = []
        parts = textwrap.wrap(line.strip(), WIDTH - 10, break_long_words=False, break_on_hyphens=False)
        yield from (f"{'    ' if not at else '        '}{part}" for at, part in enumerate(_continued(parts)))


def _continued(parts: list[str]) -> list[str]:
    """A command in several lines, as a shell reads them."""
    return [*(f"{part} \\" for part in parts[:-1]), *parts[-1:]]


def _key_lines(keys: list[Key], prefix: str) -> Iterator[str]:
    """Keys with their defaults, a line each, and their meaning behind."""
    typed = [f"{prefix}{key.name}={key.default}" for key in keys]
    behind = min(max((len(text) for text in typed), default=0) + 4, 46)
    for text, key in zip(typed, keys, strict=True):
        yield from _wrapped(text, key.meaning, behind)


def _wrapped(name: str, text: str, behind: int) -> list[str]:
    """A name with its description, which begins at a column, in lines of `WIDTH`."""
    indent = " " * behind
    if not text:
        return _filled(f"  {name}")
    rows = textwrap.wrap(text, WIDTH - behind, break_long_words=False, break_on_hyphens=False)
    if len(name) + 3 > behind:
        return [f"  {name}", *(f"{indent}{row}" for row in rows)]
    first, *others = rows
    return [f"  {name:{behind - 2}}{first}", *(f"{indent}{row}" for row in others)]


def _filled(text: str) -> list[str]:
    """A text in lines of `WIDTH`, all but the first further in."""
    return textwrap.wrap(text, WIDTH, subsequent_indent=" " * 8, break_long_words=False, break_on_hyphens=False)
