"""What the yaml of an option says of itself: a description, a stage, and each key with its meaning.

The meaning of a key is the comment behind its value, or the comment lines right above it. Reads text; composes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from rnn_research.config.groups import options
from rnn_research.records import whole_file

STAGE = "stage: "
"""Opens the comment line that says where a strategy or a regularizer acts."""
NOT_KEYS = ("_target_", "_partial_", "_recursive_", "_convert_", "defaults", "hydra")
DEEP = 20
"""Levels of a yaml that are read: an alias may lead back to where it stands."""


class Key(NamedTuple):
    """A key of an option, below its group: `zclip.alpha`, its default as written, and its meaning."""

    name: str
    default: str
    meaning: str


class OptionText(NamedTuple):
    """What a yaml says: the lines of its first comment, its stage, and its keys, the shared ones last."""

    header: list[str]
    stage: str
    keys: list[Key]


def option_path(group: str, option: str, folders: list[Path]) -> Path | None:
    """The yaml of an option: of several folders the last one's. None where there is none."""
    paths = [folder / group / f"{option}.yaml" for folder in folders]
    return next((path for path in reversed(paths) if path.is_file()), None)


def read_option(path: Path, folders: list[Path]) -> OptionText:
    """What a yaml says, and the keys of the shared yamls that its `defaults` name.

    Args:
        folders: where shared yamls are looked for, the last folder first.
    """
    lines = _text(path).splitlines()
    header, stage = _header(lines)
    root = _root("\n".join(lines))
    keys = {key.name: key for key in _keys(root, lines, "", 0)}
    for name in _shared(root):
        shared = option_path(path.parent.name, name, folders)
        if shared is not None and shared != path:
            for key in read_option(shared, folders).keys:
                own = keys.setdefault(key.name, key)
                keys[key.name] = own._replace(meaning=own.meaning or key.meaning)
    return OptionText(header, stage, list(keys.values()))


def stage_of(path: Path) -> str:
    """Where the strategy or regularizer of a yaml acts, as its comment says; empty where it does not."""
    return _header(_text(path).splitlines())[1]


def options_with(group: str, key: str, folders: list[Path]) -> list[str]:
    """The options of a group that have a key, which stands at the top of an option or below its name."""
    found = []
    for option in sorted(options(folders).get(group, {})):
        path = option_path(group, option, folders)
        names = [] if path is None else [known.name for known in read_option(path, folders).keys]
        if key in names or f"{option}.{key}" in names:
            found.append(option)
    return found


def read_study(path: Path) -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """What the yaml of an experiment chooses, group by group, and the values that it sweeps, key by key."""
    try:
        study = yaml.safe_load(_text(path))
    except yaml.YAMLError:
        return {}, {}
    defaults = study.get("defaults") if isinstance(study, dict) else None
    choices = {
        str(group).removeprefix("override ").strip("/ "): _listed(chosen)
        for item in (defaults if isinstance(defaults, list) else [])
        if isinstance(item, dict)
        for group, chosen in item.items()
    }
    swept = study if isinstance(study, dict) else {}
    for key in ("hydra", "sweeper", "params"):
        swept = swept.get(key) if isinstance(swept, dict) else None
    return choices, {str(key): _listed(value) for key, value in swept.items()} if isinstance(swept, dict) else {}


def _listed(value: Any) -> list[str]:
    """A list's items, or what stands between a text's commas outside brackets."""
    if isinstance(value, list):
        return [str(item) for item in value]
    return [item.strip() for item in re.split(r",(?![^\[({]*[\])}])", str(value))]


def _text(path: Path) -> str:
    try:
        return whole_file.content(path, whole_file.ANY).decode("utf-8", "replace")
    except OSError:
        return ""


def _header(lines: list[str]) -> tuple[list[str], str]:
    """The lines of the first comment without their sign, and the stage."""
    header, stage = [], ""
    for line in lines:
        if not line.startswith("#"):
            break
        text = line.removeprefix("#").removeprefix(" ")
        if text.startswith(STAGE):
            stage = text.removeprefix(STAGE).strip()
        elif not text.startswith("@"):
            header.append(text.rstrip())
    return header, stage


def _root(text: str) -> yaml.MappingNode | None:
    """The yaml's nodes, which know their lines; None where it is no mapping, or not valid."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError:
        return None
    return root if isinstance(root, yaml.MappingNode) else None


def _shared(root: yaml.MappingNode | None) -> list[str]:
    """The options of its own group, with names that begin with "_", that a yaml's `defaults` name."""
    pairs: list[tuple[Any, Any]] = root.value if root else []
    lists = [value for key, value in pairs if key.value == "defaults" and isinstance(value, yaml.SequenceNode)]
    names = [str(item.value) for value in lists for item in value.value if isinstance(item, yaml.ScalarNode)]
    return [name for name in names if name.startswith("_") and name != "_self_"]


def _keys(node: yaml.MappingNode | None, lines: list[str], path: str, depth: int) -> Iterator[Key]:
    pairs: list[tuple[Any, Any]] = node.value if node and depth < DEEP else []
    for key, value in pairs:
        name = f"{path}{key.value}"
        if not isinstance(key, yaml.ScalarNode) or key.value in NOT_KEYS:
            continue
        if isinstance(value, yaml.MappingNode) and value.value:
            yield from _keys(value, lines, f"{name}.", depth + 1)
        else:
            yield Key(name, _written(value, lines), _meaning(key, value, lines))


def _written(value: Any, lines: list[str]) -> str:
    """A value as the yaml has it, in one line."""
    if isinstance(value, yaml.SequenceNode) and not value.flow_style:
        return f"[{', '.join(_written(item, lines) for item in value.value)}]"
    start, end = value.start_mark, value.end_mark
    if start.line == end.line:
        return lines[start.line][start.column : end.column] if start.line < len(lines) else ""
    last = lines[end.line][: end.column] if end.line < len(lines) else ""
    rows = [lines[start.line][start.column :], *lines[start.line + 1 : end.line], last]
    return " ".join(" ".join(row.partition(" #")[0].split()) for row in rows).strip()


def _meaning(key: Any, value: Any, lines: list[str]) -> str:
    """The comment behind a value, else the comment lines right above its key, but for those that open the yaml."""
    in_flow = getattr(value, "flow_style", False) or value.end_mark.line == key.start_mark.line
    behind = value.end_mark if in_flow else key.end_mark
    if found := re.match(r"\s*:?\s+# *(.*)", lines[behind.line][behind.column :]):
        return found[1].strip()
    first = next((number for number, line in enumerate(lines) if not line.startswith("#")), 0)
    above: list[str] = []
    for line in reversed(lines[first : key.start_mark.line]):
        if not line.lstrip().startswith("#"):
            break
        above.insert(0, line.lstrip().lstrip("#").strip())
    return " ".join(above)
