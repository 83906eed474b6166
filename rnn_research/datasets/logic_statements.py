"""Pairs of propositional statements in bulk: drawn by the published rules, compared by truth table, and as trees."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from rnn_research.datasets.tree_arrays import assemble, bracketed
from rnn_research.structures import Sample

VOCABULARY = ("", "(", ")", *"abcdef", "and", "or", "not", "<sep>")  # a token is its place here; 0 is the empty token
OPENING, CLOSING, FIRST, AND, OR, NOT, SEPARATOR = 1, 2, 3, 9, 10, 11, 12
VARIABLES = 6
CHOICE = 4
"""Variables that a pair draws from: any four of the six."""
RELATIONS = "<>=^|#v"  # a class is a relation's place here

PAIRS = 500_000
"""Pairs that the published data were drawn as, before repetitions were left out."""
SOUND = 0.851
"""The share of pairs drawn without a statement that is always, or never, true."""
SLOTS, INNER = 15, 7
"""A statement is a binary tree of four levels: slot j has the operands 2j + 1 and 2j + 2, and the last 8 have none."""
ATOM, NEGATED = 5 / 9, 1 / 3
"""The probability that an operand is a variable where it could be more, and that it is negated."""
FULL = np.uint64(2**64 - 1)
TABLE = np.array([sum(1 << world for world in range(64) if world >> v & 1) for v in range(VARIABLES)], dtype=np.uint64)
"""The truth table of each variable: bit w is its truth in the w-th of the 64 worlds."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Many pairs of statements, left and right: arrays of shape (pairs, 2, slots).

    `there` says which slots a statement has, `kind` is AND, OR or, at a variable, 0, `negated` is a `not` around the
    slot, `variable` 0 to 5.
    """

    there: np.ndarray
    kind: np.ndarray
    negated: np.ndarray
    variable: np.ndarray

    def __len__(self) -> int:
        return len(self.there)

    def chosen(self, rows: np.ndarray) -> Pairs:
        return Pairs(self.there[rows], self.kind[rows], self.negated[rows], self.variable[rows])

    def operators(self) -> np.ndarray:
        """The number of operators of the statement that has more, of each pair."""
        return (self.there * ((self.kind > 0) + self.negated.astype(np.int64))).sum(axis=2).max(axis=1)


def draw(random: np.random.Generator, count: int) -> Pairs:
    """Pairs by the published generator (see `PropositionalLogic`)."""
    kind = random.choice([0, AND, OR], p=[ATOM, (1 - ATOM) / 2, (1 - ATOM) / 2], size=(count, 2, SLOTS))
    kind[:, :, INNER:] = 0
    there = np.ones((count, 2, SLOTS), dtype=bool)
    for slot in range(1, SLOTS):
        above = (slot - 1) // 2
        there[:, :, slot] = there[:, :, above] & (kind[:, :, above] > 0)
    shared = np.argsort(random.random((count, VARIABLES)), axis=1)[:, :CHOICE]
    chosen = random.integers(CHOICE, size=(count, 2 * SLOTS))
    variable = np.take_along_axis(shared, chosen, axis=1).reshape(count, 2, SLOTS)
    return Pairs(there, kind * there, (random.random(there.shape) < NEGATED) & there, variable)


def truths(pairs: Pairs) -> np.ndarray:
    """The truth table of each statement, a bit for each of the 64 worlds: (pairs, 2) uint64."""
    table = TABLE[pairs.variable]
    for slot in range(SLOTS)[::-1]:
        if slot < INNER:
            kind, first, second = pairs.kind[:, :, slot], table[:, :, 2 * slot + 1], table[:, :, 2 * slot + 2]
            table[:, :, slot] = np.select(
                [kind == AND, kind == OR], [first & second, first | second], table[:, :, slot]
            )
        table[:, :, slot] ^= np.where(pairs.negated[:, :, slot], FULL, np.uint64(0))
    return table[:, :, 0]


def sound(truth: np.ndarray) -> np.ndarray:
    """The pairs of which no statement is true in every world, or in none."""
    return np.flatnonzero(((truth != 0) & (truth != FULL)).all(axis=1))


def relations(truth: np.ndarray) -> np.ndarray:
    """The class of each sound pair: the relation of MacCartney & Manning 2009 between the sets of worlds."""
    left, right = truth.T
    within, around, apart, all_of_it = left & ~right == 0, right & ~left == 0, left & right == 0, left | right == FULL
    found = [within & around, within, around, apart & all_of_it, apart, all_of_it]
    return np.select(found, [RELATIONS.index(relation) for relation in "=<>^|v"], RELATIONS.index("#"))


def as_if_distinct(random: np.random.Generator, pairs: Pairs) -> np.ndarray:
    """The numbers of the pairs to keep, so that the rest is distributed as a set without repetition.

    A pair of probability p is among the published ones with probability 1 - exp(-N p), where N pairs were drawn, and
    was drawn N p times on average. So each is kept with the ratio of the two.
    """
    atom = pairs.there & (pairs.kind == 0)
    inner = np.arange(SLOTS) < INNER
    logs = np.where(pairs.negated, np.log(NEGATED), np.log(1 - NEGATED))
    logs = logs + np.where(atom, np.where(inner, np.log(ATOM), 0) - np.log(CHOICE), np.log((1 - ATOM) / 2))
    used = sum((atom & (pairs.variable == v)).any(axis=(1, 2)).astype(np.int64) for v in range(VARIABLES))
    allowing = [comb(VARIABLES - number, CHOICE - number) / comb(VARIABLES, CHOICE) for number in range(CHOICE + 1)]
    copies = PAIRS / SOUND * np.exp((logs * pairs.there).sum(axis=(1, 2))) * np.array(allowing)[used]
    ratio = -np.expm1(-copies) / np.maximum(copies, np.finfo(float).tiny)
    return np.flatnonzero((random.random(len(pairs)) < ratio) | (copies < 1e-9))


def write(pairs: Pairs) -> tuple[np.ndarray, np.ndarray]:
    """Pairs as text, end to end, and the length of each: `( left ( <sep> right ) )`, with `<sep>` as an operator.

    Statements are in the published form: `( X ( and Y ) )`, `( not X )`, or a variable.
    """
    size = np.where(pairs.there, 1 + 3 * pairs.negated, 0)  # tokens of each slot's text
    for slot in range(INNER)[::-1]:
        operands = size[:, :, 2 * slot + 1] + size[:, :, 2 * slot + 2]
        size[:, :, slot] += np.where(pairs.kind[:, :, slot] > 0, 4 + operands, 0)
    lengths = size[:, :, 0].sum(axis=1) + 5
    start = np.zeros_like(size)  # where each slot's text begins in all of the text, the bracket of its `not` included
    start[:, :, 0] = (np.cumsum(lengths) - lengths + 1)[:, None]
    start[:, 1, 0] += size[:, 0, 0] + 2
    for slot in range(INNER):
        first = start[:, :, slot] + 2 * pairs.negated[:, :, slot] + 1
        start[:, :, 2 * slot + 1] = first
        start[:, :, 2 * slot + 2] = first + size[:, :, 2 * slot + 1] + 2
    return _text(pairs, start, size, int(lengths.sum())), lengths


def _text(pairs: Pairs, start: np.ndarray, size: np.ndarray, total: int) -> np.ndarray:
    text = np.full(total, CLOSING)  # wherever nothing else stands
    text[start[:, 0, 0] - 1] = text[start[:, 1, 0] - 2] = OPENING
    text[start[:, 1, 0] - 1] = SEPARATOR
    around = start[pairs.negated]
    text[around], text[around + 1] = OPENING, NOT
    inside, atom, inner = start + 2 * pairs.negated, pairs.there & (pairs.kind == 0), pairs.kind > 0
    text[inside[atom]] = FIRST + pairs.variable[atom]
    second = start[:, :, 2 : 2 * INNER + 1 : 2][inner[:, :, :INNER]]
    text[inside[inner]], text[second - 2], text[second - 1] = OPENING, OPENING, pairs.kind[inner]
    return text


def samples(text: np.ndarray, lengths: np.ndarray, targets: np.ndarray) -> list[Sample]:
    """A sample of each pair written in `text`: all of it as the parse, and as the sequence `left <sep> right`."""
    ends = np.cumsum(lengths)
    between = np.flatnonzero(text == SEPARATOR)
    sequence = np.delete(text, np.concatenate([ends - lengths, between - 1, ends - 2, ends - 1]))
    return assemble(bracketed(text, lengths, OPENING, CLOSING), sequence, lengths - 4, targets)
