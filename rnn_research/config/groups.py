"""The config groups, what each takes, and their options as the yamls in conf/ and in a user's folders give them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from rnn_research.records import whole_file

_INSTALLED = Path(__file__).parents[1] / "conf"
CONF = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parents[2] / "conf"
"""The project's configs: inside the package where it is installed from a wheel, beside it in a checkout."""


class Group(NamedTuple):
    """A config group.

    Attributes:
        takes_many: it takes a list of options, in order, each under its own name (`clipping.value.max_value`).
        required: a config without it is refused.
        lone: a user's yaml may also put the keys of its one option at the group itself.
    """

    takes_many: bool = False
    required: bool = True
    lone: bool = False


TABLE = {
    "model": Group(),
    "dataset": Group(),
    "structure": Group(),
    "architecture": Group(),
    "init": Group(takes_many=True, required=False),
    "clipping": Group(takes_many=True, lone=True),
    "regularizer": Group(takes_many=True, required=False, lone=True),
    "optimizer": Group(),
    "scheduler": Group(),
    "probe": Group(takes_many=True, required=False),
    "trainer": Group(),
    "logger": Group(takes_many=True, required=False),
    "experiment": Group(required=False),
}
LISTS = tuple(name for name, group in TABLE.items() if group.takes_many)
ONE = tuple(name for name, group in TABLE.items() if not group.takes_many)
LONE = tuple(name for name, group in TABLE.items() if group.lone)
SHORT = {"hidden_size": "model.cell.hidden_size"}
"""Keys that may be typed without what stands before them."""
SAME: dict[str, str] = dict.fromkeys(("init=none", "init=[none]"), "init=default")
"""Choices that may be typed by another name: `none` means nothing in every group that takes a list."""
CLIPPING = (
    "not supported, expected a clipping strategy, which records what it did; use clipping=global_norm "
    "clipping.max_norm=1.0 (or clipping=value clipping.max_value=1.0)"
)
REFUSED = dict.fromkeys(("trainer.gradient_clip_val", "trainer.gradient_clip_algorithm"), CLIPPING)
"""Keys of Lightning's that would do something else than is expected here, and what is said of them."""


def config_dirs(arguments: list[str]) -> list[Path]:
    """Return the folders given with --config-dir (or -cd)."""
    found = []
    for index, argument in enumerate(arguments):
        name, equals, value = argument.partition("=")
        if name in ("--config-dir", "-cd"):
            found += [Path(value)] if equals else [Path(item) for item in arguments[index + 1 : index + 2]]
    return found


def options(folders: list[Path]) -> dict[str, dict[str, str]]:
    """Group -> option -> the first comment of its yaml. Options with names that begin with "_" are parts of others.

    A later folder's option replaces that of the same name in an earlier one: a user's folder comes before the
    project's own where a config is composed.
    """
    groups: dict[str, dict[str, str]] = {}
    for folder in folders:
        for path in sorted(folder.glob("*/*.yaml")):
            if not path.stem.startswith("_") and path.parent.name != "hydra" and path.is_file():
                groups.setdefault(path.parent.name, {})[path.stem] = first_line(path)
    return groups


def has_option(folders: Iterable[Path], group: str, name: str) -> bool:
    """Whether one of the folders has an option of that name: see `options`."""
    plain = name and not name.startswith("_") and "/" not in name
    return bool(plain) and any((folder / group / f"{name}.yaml").is_file() for folder in folders)


def first_line(path: Path) -> str:
    """Return the first comment of a yaml that is not a Hydra directive."""
    try:
        text = whole_file.content(path, whole_file.ANY).decode("utf-8", "replace")
    except OSError as error:
        return f"(can't be read: {error.strerror})"
    for line in text.splitlines():
        if line.startswith("#") and not line.startswith("# @"):
            return line.lstrip("# ").strip()
        if line and not line.startswith("#"):
            break
    return ""
