"""The published files of propositional logic: `relation<TAB>left<TAB>right` a line, in brackets of two."""

from __future__ import annotations

import re
from itertools import chain
from pathlib import Path

import numpy as np

from rnn_research.datasets.lines import read_lines, refusal
from rnn_research.datasets.logic_statements import (
    AND,
    CLOSING,
    FIRST,
    FULL,
    NOT,
    OPENING,
    OR,
    RELATIONS,
    SEPARATOR,
    TABLE,
    VOCABULARY,
    relations,
    sound,
)
from rnn_research.datasets.logic_statements import samples as of_text
from rnn_research.structures import Sample

TOKENS = {word: token for token, word in enumerate(VOCABULARY) if word and token != SEPARATOR}
VARIABLE, HELD, NEGATION, OTHER = "x", "h", "n", "o"
REDUCTIONS = {NEGATION + VARIABLE: VARIABLE, OTHER + VARIABLE: HELD, VARIABLE + HELD: VARIABLE}
"""What two things in brackets make: a statement (as a variable is one), or an operator with its second operand."""
WORLDS, ALL = list(map(int, TABLE)), int(FULL)
KINDS = {OPENING: "(", AND: OTHER, OR: OTHER, NOT: NEGATION}

Parsed = tuple[int, list[int], int, tuple[int, int]]
"""A class; the tokens of `( left ( <sep> right ) )`; the operators of the statement that has more; truth tables."""


def read(folder: Path, name: str) -> tuple[list[Sample], np.ndarray]:
    """The samples of all files of a folder whose names start with `name`, by the numbers in their names, and of each
    the operators of the statement that has more.

    Raises:
        ValueError: there is no such file, or a line is not a relation and two statements in the published brackets
            between which it holds (where both are true in some worlds and false in others).
    """
    paths = sorted((path for path in _files(folder) if path.name.startswith(name)), key=_number)
    if not paths:
        raise ValueError(
            f"dataset.root: {folder} has no file {name}0, {name}1, ..., expected a folder with the published files; "
            "set dataset.root to one, or leave it out for generated samples"
        )
    parsed = [one for path in paths for one in _read(path)]
    text = np.array(list(chain.from_iterable(tokens for _, tokens, _, _ in parsed)))
    lengths = np.array([len(tokens) for _, tokens, _, _ in parsed])
    found = of_text(text, lengths, np.array([relation for relation, _, _, _ in parsed]))
    return found, np.array([operators for _, _, operators, _ in parsed])


def _read(path: Path) -> list[Parsed]:
    parsed = read_lines(path, _line, ("relation", "left", "right"))
    truth = np.array([truths for _, _, _, truths in parsed], dtype=np.uint64)
    given, holds = np.array([relation for relation, _, _, _ in parsed]), relations(truth)
    for wrong in [index for index in sound(truth) if given[index] != holds[index]][:1]:
        found, expected = RELATIONS[given[wrong]], RELATIONS[holds[wrong]]
        raise refusal(path, int(wrong), f"found the relation {found!r}, expected the one that holds, {expected!r}")
    return parsed


def _files(folder: Path) -> list[Path]:
    try:
        return [path for path in folder.iterdir() if path.is_file()]
    except OSError as error:
        raise ValueError(
            f"dataset.root: can't read {folder} ({error.strerror}), expected a folder with the published files; "
            "set dataset.root to one, or leave it out for generated samples"
        ) from error


def _number(path: Path) -> tuple[int, str]:
    digits = re.search(r"\d+", path.name)
    return (int(digits.group()) if digits else -1), path.name


def _line(relation: str, left: str, right: str) -> Parsed:
    if len(relation) != 1 or relation not in RELATIONS:
        raise ValueError(f"found the relation {relation!r}, expected one of {' '.join(RELATIONS)}")
    (first, left_truth), (second, right_truth) = _statement(left), _statement(right)
    tokens = [OPENING, *first, OPENING, SEPARATOR, *second, CLOSING, CLOSING]
    return RELATIONS.index(relation), tokens, max(operators(first), operators(second)), (left_truth, right_truth)


def operators(tokens: list[int]) -> int:
    return sum(AND <= token <= NOT for token in tokens)


def _statement(text: str) -> tuple[list[int], int]:
    """The tokens of a statement, checked: what is in brackets is two things that make one; and its truth table."""
    words = text.split()
    open_things: list[str] = []
    tables: list[int] = []
    joins: list[int] = []
    for word in words:
        token = TOKENS.get(word)
        if token is None:
            raise ValueError(f"found {word!r}, expected one of {' '.join(TOKENS)}")
        if token != CLOSING:
            open_things.append(KINDS.get(token, VARIABLE))
            if open_things[-1] == VARIABLE:
                tables.append(WORLDS[token - FIRST])
            elif open_things[-1] == OTHER:
                joins.append(token)
            continue
        inside = "".join(open_things[-2:])
        if open_things[-3:-2] != ["("] or inside not in REDUCTIONS:
            raise ValueError(f"found brackets in {text!r} around other things than ( X ( and Y ) ) or ( not X )")
        open_things[-3:] = [REDUCTIONS[inside]]
        if inside == NEGATION + VARIABLE:
            tables[-1] ^= ALL
        elif inside == VARIABLE + HELD:
            second, join = tables.pop(), joins.pop()
            tables[-1] = tables[-1] & second if join == AND else tables[-1] | second
    if open_things != [VARIABLE]:
        raise ValueError(f"found {text!r}, expected one statement: a variable, ( X ( and Y ) ) or ( not X )")
    return [TOKENS[word] for word in words], tables[0]
