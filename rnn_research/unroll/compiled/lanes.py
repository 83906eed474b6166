"""What an update does to each of a node's previous states alike, found in the graph of one number of them.

A *lane* is what belongs to one previous state k: its blocks, and what is computed from them. Where the lanes of all are
the same but for k, and meet only in sums over them (the sum of the children's states, the cells behind their forget
gates) or in products of what each computes, the code is a loop over k that knows not how often it runs: it is written
and compiled once for any number of children. Where they are not, the code has each lane apart, and grows.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import fx

from rnn_research.unroll.compiled.graph import (
    CHILD,
    VALUE,
    Accumulator,
    ChildLeaf,
    Product,
    TensorLeaf,
    leaf_of,
    name_of,
    operands_of,
)
from rnn_research.unroll.compiled.operations import Value


@dataclass
class Lanes:
    """`place` says of each node of a lane what it is in the first lane, and which lane it is in. `sums` has what each
    sum over the lanes starts from (None: 0) and its term in the first lane; `dropped` are the partial sums."""

    place: dict[fx.Node, tuple[fx.Node, int]] = field(default_factory=dict)
    sums: dict[fx.Node, tuple[Value | None, fx.Node]] = field(default_factory=dict)
    dropped: set[fx.Node] = field(default_factory=set)

    def first(self, node: fx.Node) -> bool:
        """Whether a node is in the first lane."""
        return self.place.get(node, (None, 1))[1] == 0


def lanes_of(
    arity: int,
    nodes: Sequence[fx.Node],
    acc: Mapping[fx.Node, Accumulator],
    products: Iterable[Product],
    outputs: Sequence[fx.Node],
) -> Lanes:
    """The lanes of an update with so many previous states, of whose `nodes` sources come first; without any where a
    loop would not do."""
    found = Lanes()
    if arity < 2:
        return found
    users = _users(nodes, acc)
    depth: dict[fx.Node, int] = {}  # links of the longest chain of additions that ends at a node
    for node in nodes:
        if node in acc or leaf_of(node) or name_of(node) != "add":
            continue
        depth[node] = 1 + max((depth.get(one, 0) for one in _links(node, depth, users, outputs)), default=0)
        if depth[node] >= arity - 1:
            _sum(node, arity, depth, users, outputs, acc, found)
    for values in _values(products, arity):
        _align(list(values), acc, found)
    return found if _apart(found, users, outputs) else Lanes()


def _users(nodes: Sequence[fx.Node], acc: Mapping[fx.Node, Accumulator]) -> dict[fx.Node, list[fx.Node]]:
    users: dict[fx.Node, list[fx.Node]] = {node: [] for node in nodes}
    for node in nodes:
        if node not in acc:
            for operand in node.all_input_nodes:
                users[operand].append(node)
    return users


def _links(
    node: fx.Node, depth: Mapping[fx.Node, int], users: Mapping[fx.Node, list[fx.Node]], outputs: Sequence[fx.Node]
) -> list[fx.Node]:
    """The operands that are additions nothing else reads."""
    given = [one for one in operands_of(node) if isinstance(one, fx.Node)]
    return [one for one in given if one in depth and len(users[one]) == 1 and one not in outputs]


def _sum(
    node: fx.Node,
    arity: int,
    depth: Mapping[fx.Node, int],
    users: Mapping[fx.Node, list[fx.Node]],
    outputs: Sequence[fx.Node],
    acc: Mapping[fx.Node, Accumulator],
    found: Lanes,
) -> None:
    """Add the sum over all lanes that ends at a node, if one does."""
    chain, terms, last = [node], [], node
    while True:
        links = _links(last, depth, users, outputs)
        operands = list(operands_of(last))
        following = max(links, key=depth.__getitem__, default=None)
        if len(terms) == arity - 2:  # the first two terms are the last addition's
            if _add(node, None, [operands[1], operands[0]], terms, chain, acc, found):
                return
            if _add(node, None, operands, terms, chain, acc, found):
                return
        if len(terms) == arity - 1:
            for head, term in (operands, operands[::-1]):
                if _add(node, head, [term], terms, chain, acc, found):
                    return
            return
        if following is None:
            return
        terms.append(operands[1] if operands[0] is following else operands[0])
        chain.append(following)
        last = following


def _add(
    node: fx.Node,
    head: Value | None,
    more: list[Value],
    terms: list[Value],
    chain: list[fx.Node],
    acc: Mapping[fx.Node, Accumulator],
    found: Lanes,
) -> bool:
    """Whether the terms, the last one first, are alike; if so, they are added."""
    lanes = [*terms, *more][::-1]
    if not _align(lanes, acc, found):
        return False
    first = lanes[0]
    assert isinstance(first, fx.Node)
    found.sums[node] = head, first
    found.dropped.update(chain[1:])
    return True


def _align(terms: list[Value], acc: Mapping[fx.Node, Accumulator], found: Lanes) -> bool:
    """Whether the terms are the same but for the lane they are in; if so, their nodes are placed."""
    place: dict[fx.Node, tuple[fx.Node, int]] = {}
    reads_children = False
    stack = [terms]
    while stack:
        row = stack.pop()
        first = row[0]
        if all(one is first or (not isinstance(one, fx.Node) and one == first) for one in row):
            continue
        if not isinstance(first, fx.Node) or not all(isinstance(one, fx.Node) for one in row):
            return False
        known = [place.get(one) or found.place.get(one) for one in row if isinstance(one, fx.Node)]
        if any(known):
            if known != [(first, k) for k in range(len(row))]:
                return False
            reads_children = True
            continue
        kinds = {type(leaf_of(one)) if one not in acc else "acc" for one in row if isinstance(one, fx.Node)}
        if len(kinds) > 1 or len(set(row)) < len(row):
            return False
        operands = _operands(row, acc)  # type: ignore[arg-type]
        if operands is None:
            return False
        reads_children |= operands is CHILDREN
        stack += operands
        place.update({one: (first, k) for k, one in enumerate(row)})  # type: ignore[misc]
    if reads_children:
        found.place.update(place)
    return reads_children


CHILDREN: list[list[Value]] = []
"""No operands: blocks of the children themselves."""


def _operands(row: list[fx.Node], acc: Mapping[fx.Node, Accumulator]) -> list[list[Value]] | None:
    """What nodes side by side, one a lane, are computed from; None: not from the same."""
    first, leaf = row[0], leaf_of(row[0])
    if first in acc:
        return _sources([acc[one].products for one in row])
    if isinstance(leaf, ChildLeaf):
        return CHILDREN if [leaf_of(one) for one in row] == [ChildLeaf(k, leaf.part) for k in range(len(row))] else None
    if isinstance(leaf, TensorLeaf):
        return None  # a vector of its own for each child
    if len({name_of(one) for one in row}) > 1 or len({len(operands_of(one)) for one in row}) > 1:
        return None
    return [list(operands) for operands in zip(*map(operands_of, row), strict=True)]


def _sources(products: list[list[tuple[Product, int]]]) -> list[list[Value]] | None:
    """The values that accumulators side by side are products of: the driver sees to the products themselves."""
    if len({len(one) for one in products}) > 1:
        return None
    found: list[list[Value]] = []
    for row in zip(*products, strict=True):
        given = [product for product, _ in row]
        if len({(product.source, product.count) for product in given}) > 1:
            return None
        if given[0].source == VALUE:
            found += [list(values) for values in zip(*(product.values for product in given), strict=True)]
    own = [[product for product, _ in row if product.source == CHILD and product.count == 1] for row in products]
    if not found and all(any(product.first == k for product in one) for k, one in enumerate(own)):
        return CHILDREN
    return found


def _values(products: Iterable[Product], arity: int) -> list[tuple[fx.Node, ...]]:
    """Of products with one weight, as many as there are lanes: their values, side by side."""
    by_weight: dict[object, list[Product]] = {}
    for product in products:
        if product.source == VALUE:
            by_weight.setdefault(product.weight, []).append(product)
    return [
        values
        for alike in by_weight.values()
        if len(alike) == arity and len({len(product.values) for product in alike}) == 1
        for values in zip(*(product.values for product in alike), strict=True)
    ]


def _apart(found: Lanes, users: Mapping[fx.Node, list[fx.Node]], outputs: Sequence[fx.Node]) -> bool:
    """Whether nothing but its own lane, and the sums, reads what is in a lane."""
    sums = {*found.sums, *found.dropped}
    heads = {head for head, _ in found.sums.values() if isinstance(head, fx.Node)}
    if any(node in heads or node in sums or node in outputs for node in found.place):
        return False
    return all(
        user in sums or found.place.get(user, (None, -1))[1] == lane
        for node, (_, lane) in found.place.items()
        for user in users[node]
    )
