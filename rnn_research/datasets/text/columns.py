"""Which column of a table holds the text, which its class, and which its split."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rnn_research.datasets.own.parts import part_of

TEXT = [
    "text",
    "sentence",
    "content",
    "message",
    "question",
    "review",
    "tweet",
    "document",
    "body",
    "comment",
    "utterance",
    "headline",
    "description",
    "query",
    "input",
    "sms",
    "title",
    "v2",
]
LABEL = [
    "label",
    "labels",
    "class",
    "category",
    "target",
    "sentiment",
    "intent",
    "topic",
    "polarity",
    "tag",
    "type",
    "y",
    "output",
    "rating",
    "stars",
    "score",
    "label_text",
    "coarse_label",
    "v1",
]
SPLIT = ["split", "set", "partition", "subset", "fold"]
"""Names of columns that are known without being told, in any case, the more usual first."""


@dataclass(frozen=True)
class AskedColumns:
    """The columns that a user names: by the name in a header, or by a number counted from 1.

    Attributes:
        kept: False: they are a hint, as those of another file; a file that lacks them is read as if none were named.
    """

    text: str | None = None
    label: str | None = None
    split: str | None = None
    kept: bool = True


@dataclass(frozen=True)
class Columns:
    """The places of columns, counted from 0, and whether the first record names them.

    Attributes:
        guessed: what to say where the file itself does not say it.
    """

    text: int
    label: int | None
    split: int | None
    header: bool
    guessed: str = ""


def columns_of(records: Sequence[Sequence[str]], asked: AskedColumns, labelled: bool) -> Columns:
    """The columns of a table.

    Those asked for, else those whose names are known. Of a table of two columns with unknown names, or none, the
    column with fewer different values is that of the classes.

    Args:
        records: all of it, the header where there is one; at least one.
        labelled: whether there must be a label.

    Raises:
        ValueError: a column is missing, or can't be told from others: says which key to set.
    """
    first, names = records[0], [name.strip().lower() for name in records[0]]
    places = {role: _place(getattr(asked, role), first, asked.kept, role) for role in ("text", "label", "split")}
    if not asked.kept and places["text"] is None:
        places = dict.fromkeys(places)  # a file of other columns
    _check_different(places, first)
    by_name = any(getattr(asked, role) in first for role in places)
    for role, known in (("text", TEXT), ("label", LABEL), ("split", SPLIT)):
        if places[role] is None:
            taken = set(places.values())
            name = next((one for one in known if one in names and names.index(one) not in taken), None)
            places[role] = None if name is None else _only(name, names, role)
    text, label, split = places["text"], places["label"], places["split"]
    header = by_name or any(place is not None and names[place] in (*TEXT, *LABEL) for place in (text, label))
    guessed = ""
    if len(first) == 2 and split is None and (text is None) != (label is None):
        text, label = (1 - label, label) if label is not None else (text, 1 - text)  # type: ignore[operator]
    elif len(first) == 1 and text is None:
        text = 0
    elif len(first) == 2 and text is None and label is None:
        text, label, header = _told_apart(records)
        guessed = f"column {label + 1} is taken for the classes, {text + 1} for the text" + (
            f"; the first line, {', '.join(first)}, names them" if header else ""
        )
    if text is None or (labelled and label is None):
        missing = "text" if text is None else "label"
        raise ValueError(
            f"found the columns {_listed(first)}, of which none is known as the {missing}; set "
            f"dataset.{missing}_column to one's name, or to its number counted from 1"
        )
    if header and split is not None and asked.split is None and not _says_parts(records, split):
        split = None  # a column of that name that says something else
    return Columns(text, label, split, header, guessed)


def _place(asked: str | None, first: Sequence[str], kept: bool, role: str) -> int | None:
    if asked is None:
        return None
    names = [name.strip() for name in first]
    if asked in names:
        return _only(asked, names, role)
    if asked.isascii() and asked.isdigit() and 1 <= int(asked) <= len(first):
        return int(asked) - 1
    if not kept:
        return None
    raise ValueError(f"found the columns {_listed(first)}, expected {asked!r} among them; mend dataset.{role}_column")


def _only(name: str, names: Sequence[str], role: str) -> int:
    """The place of a column of this name.

    Raises:
        ValueError: there are two.
    """
    if names.count(name) > 1:
        at = [str(place) for place, one in enumerate(names, start=1) if one == name]
        raise ValueError(
            f"found {len(at)} columns named {name!r}, the columns {' and '.join(at)}, expected one; rename the others, "
            f"or set dataset.{role}_column to the number of one"
        )
    return names.index(name)


def _check_different(places: Mapping[str, int | None], first: Sequence[str]) -> None:
    asked = [place for place in places.values() if place is not None]
    twice = next((place for place in asked if asked.count(place) > 1), None)
    if twice is not None:
        roles = " and ".join(f"dataset.{role}_column" for role, place in places.items() if place == twice)
        raise ValueError(f"{roles} are both column {twice + 1}, {first[twice][:30]!r}, expected different ones")


def _told_apart(records: Sequence[Sequence[str]]) -> tuple[int, int, bool]:
    """Of two columns without known names: that of the text, that of the classes, and whether a header names them."""
    whole = [record for record in records if len(record) == 2]
    values = [Counter(record[column].strip() for record in whole) for column in (0, 1)]
    lengths = [sum(map(len, counts)) / max(len(counts), 1) for counts in values]
    label = 0 if (len(values[0]), lengths[0]) <= (len(values[1]), lengths[1]) else 1
    others = [count for value, count in values[label].items() if value != whole[0][label].strip()] if whole else []
    alone = bool(whole) and values[label][whole[0][label].strip()] == 1
    return 1 - label, label, alone and len(others) > 1 and min(others) > 1


def _says_parts(records: Sequence[Sequence[str]], split: int) -> bool:
    """Whether a column says a split anywhere; a value in it that is none is refused where it is read."""
    return any(part_of(record[split]) is not None for record in records[1:] if len(record) > split)


def _listed(names: Sequence[str], most: int = 8) -> str:
    shown = [repr(name[:30]) for name in names[:most]]
    return ", ".join(shown) + (", ..." if len(names) > most else "")
