"""ListOps expressions in bulk: drawn, evaluated, written out, and as trees of either form."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from rnn_research.datasets.streams import checksum
from rnn_research.datasets.tree_arrays import Nodes, assemble, sums
from rnn_research.structures import Sample

VOCABULARY = ("", *"0123456789", "[MIN", "[MAX", "[MED", "[SM", "]")  # a token is its place here; 0 is the empty token
ZERO, MIN, MAX, MED, SM, END = 1, 11, 12, 13, 14, 15
LIST = 0.25  # the probability that an argument is an operator's list: VALUE_P in the published generator
DRAWS = 128_500
"""Draws with an operator at the root after which, on average, 100,000 different expressions have been seen: the size of
the published data, in which none is twice, so that short ones, of which there are few, are rare."""


@dataclass(frozen=True, eq=False)
class Expressions:
    """Many expressions, level by level: arrays of shape (nodes,). A node is a value or an operator.

    `tree` numbers the expressions, `parent` is the place in these arrays of the operator above (-1 at a root), `side`
    says which of its arguments the node is, `level` is edges from the root. Parents come before their arguments, and
    arguments of one operator together, in order.
    """

    tree: np.ndarray
    parent: np.ndarray
    side: np.ndarray
    level: np.ndarray
    token: np.ndarray

    @property
    def operator(self) -> np.ndarray:
        return self.token >= MIN

    def levels(self) -> list[slice]:
        ends = np.cumsum(np.bincount(self.level)).tolist()
        return [slice(start, end) for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def chosen(self, trees: np.ndarray) -> Expressions:
        """The expressions whose numbers are in `trees` (ascending)."""
        mask = np.isin(self.tree, trees)
        above, place = self.parent[mask], np.cumsum(mask) - 1
        parent = np.where(above < 0, -1, place[above])
        return Expressions(
            np.searchsorted(trees, self.tree[mask]), parent, self.side[mask], self.level[mask], self.token[mask]
        )

    def nesting(self) -> np.ndarray:
        """How deep operators nest, of each expression: 0 for a digit alone."""
        deepest = np.zeros(int(self.tree.max()) + 1, dtype=np.int64)
        np.maximum.at(deepest, self.tree, self.level)
        return deepest


def draw(random: np.random.Generator, count: int, max_args: int, max_depth: int) -> Expressions:
    """Expressions with an operator at the root, by the published rules (see `ListOps`)."""
    tree, parent, side, made = np.arange(count), np.full(count, -1), np.zeros(count, dtype=np.int64), 0
    levels: list[tuple[np.ndarray, ...]] = []
    while len(tree):
        level = len(levels)
        inner = (random.random(len(tree)) < LIST) & (level < max_depth - 1) | (level == 0)
        digits, operators = random.integers(10, size=len(tree)), random.integers(4, size=len(tree))
        levels.append((tree, parent, side, np.full_like(tree, level), np.where(inner, MIN + operators, ZERO + digits)))
        arity = np.where(inner, random.integers(2, max_args + 1, size=len(tree)), 0)
        owner = np.repeat(np.arange(len(tree)), arity)
        side = np.arange(len(owner)) - np.repeat(np.cumsum(arity) - arity, arity)
        tree, parent, made = tree[owner], made + owner, made + len(tree)
    return Expressions(*(np.concatenate(parts) for parts in zip(*levels, strict=True)))


def as_if_distinct(random: np.random.Generator, drawn: Expressions, max_args: int, max_depth: int) -> np.ndarray:
    """The numbers of the expressions to keep, so that the rest is distributed as a set without repetition.

    Of `DRAWS` draws, an expression of probability p is in the set of what was drawn with probability 1 - exp(-DRAWS p),
    where there are DRAWS p copies of it. So each is kept with the ratio of the two.
    """
    of_list = np.log(LIST / (max_args - 1) / 4)
    of_digit = np.where(drawn.level < max_depth - 1, np.log((1 - LIST) / 10), -np.log(10))
    logs = np.where(drawn.operator, np.where(drawn.level == 0, of_list - np.log(LIST), of_list), of_digit)
    copies = DRAWS * np.exp(np.bincount(drawn.tree, weights=logs))
    ratio = -np.expm1(-copies) / np.maximum(copies, np.finfo(float).tiny)
    return np.flatnonzero((random.random(len(copies)) < ratio) | (copies < 1e-9))


def values(of: Expressions, max_args: int) -> np.ndarray:
    """The value of every node, 0 to 9. The median of an even number of arguments is rounded down."""
    value, levels = of.token - ZERO, of.levels()
    for level, below in zip(levels[-2::-1], levels[:0:-1], strict=True):
        inner = np.flatnonzero(of.operator[level]) + level.start
        row = np.searchsorted(inner, of.parent[below])
        arguments = np.full((len(inner), max_args), 10)  # 10: none; sorts behind every value
        arguments[row, of.side[below]] = value[below]
        value[inner] = _applied(of.token[inner], np.sort(arguments, axis=1))
    return value


def _applied(operator: np.ndarray, ordered: np.ndarray) -> np.ndarray:
    rows, there = np.arange(len(ordered)), ordered < 10
    number = there.sum(axis=1)
    median = (ordered[rows, (number - 1) // 2] + ordered[rows, number // 2]) // 2
    total = np.where(there, ordered, 0).sum(axis=1) % 10
    return np.select(
        [operator == MIN, operator == MAX, operator == MED], [ordered[:, 0], ordered[rows, number - 1], median], total
    )


@dataclass(frozen=True, eq=False)
class Written:
    """Expressions as text. `start` and `size` say where each node's text begins in its expression's, and its tokens;
    `text` is all of it end to end, `lengths` that of each expression."""

    start: np.ndarray
    size: np.ndarray
    text: np.ndarray
    lengths: np.ndarray


def write(of: Expressions) -> Written:
    """`[OP`, the arguments, `]`: a prefix form that needs no other brackets."""
    levels = of.levels()
    size, start = np.where(of.operator, 2, 1), np.zeros(len(of.tree), dtype=np.int64)
    for below in levels[:0:-1]:
        size += sums(size[below], of.parent[below], len(size))
    for below in levels[1:]:
        before = np.cumsum(size[below]) - size[below]
        eldest = np.arange(len(before)) - of.side[below]
        start[below] = start[of.parent[below]] + 1 + before - before[eldest]
    lengths = size[: levels[0].stop]
    at = (np.cumsum(lengths) - lengths)[of.tree] + start
    text = np.full(int(lengths.sum()), END)
    text[at] = of.token
    return Written(start, size, text, lengths)


def nary(of: Expressions, written: Written) -> Nodes:
    """Each operator reads its own token, above its arguments."""
    return Nodes(of.tree, of.parent, of.level, written.start, of.token)


def binary(of: Expressions, written: Written) -> Nodes:
    """The published binarisation, left-branching: `((((OP a) b) c) ])`. Tokens are at the leaves."""
    arity = sums(np.ones(len(of.tree) - of.levels()[0].stop), of.parent[of.parent >= 0], len(of.tree))
    inner = np.flatnonzero(of.operator)
    # A node of the expression is itself: a leaf, or the top of an operator's spine. Of the spine come as many more
    # nodes as there are arguments; the last holds the operator and the first argument.
    owner = np.repeat(inner, arity[inner])
    spine = len(of.tree) + np.arange(len(owner))
    first = np.cumsum(arity) - arity + len(of.tree) - 1  # first[v] + k is the k-th node of v's spine below its top
    rank = spine - first[owner]
    above = np.where(rank == 1, owner, spine - 1)
    hung = np.where(of.parent < 0, -1, first[of.parent] + arity[of.parent] - of.side)
    depth = np.zeros(len(of.tree), dtype=np.int64)
    for below in of.levels()[1:]:
        up = of.parent[below]
        depth[below] = depth[up] + arity[up] - of.side[below] + 1
    return Nodes(
        tree=np.concatenate([of.tree, of.tree[owner], of.tree[inner], of.tree[inner]]),
        parent=np.concatenate([hung, above, first[inner] + arity[inner], inner]),
        depth=np.concatenate([depth, depth[owner] + rank, depth[inner] + arity[inner] + 1, depth[inner] + 1]),
        start=np.concatenate(
            [written.start, written.start[owner], written.start[inner], (written.start + written.size)[inner] - 1]
        ),
        token=np.concatenate(
            [np.where(of.operator, 0, of.token), np.zeros_like(owner), of.token[inner], np.full_like(inner, END)]
        ),
    )


FORMS = {"binary": binary, "nary": nary}


def samples(of: Expressions, form: str, targets: np.ndarray) -> list[Sample]:
    """A sample of each expression: its text as the sequence, and its parse in that form."""
    written = write(of)
    return assemble(FORMS[form](of, written), written.text, written.lengths, targets)


def checksums(of: Expressions) -> np.ndarray:
    """Of each expression's text."""
    written = write(of)
    return checksum(written.text, written.lengths)
