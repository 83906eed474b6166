"""A traced update, laid out: its accumulators, its stages, and what goes to the tape.

The driver (kernel.c) makes the products; between them stand *segments* of elementwise code, one a stage. An
*accumulator* gathers everything that is only summed (W x + U h + b) before a segment reads it. A *slot* of the tape
keeps what the backward pass reads again: the results of costly functions (a gate after its sigmoid), and accumulators
whose own value a derivative needs. Whatever is cheap is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any

from torch import fx

from rnn_research.unroll.compiled.graph import (
    VALUE,
    Accumulator,
    Product,
    ProductLeaf,
    TensorLeaf,
    Trace,
    Untraceable,
    closure,
    leaf_of,
    name_of,
    operands_of,
)
from rnn_research.unroll.compiled.lanes import Lanes, lanes_of
from rnn_research.unroll.compiled.operations import OPERATIONS, Value

MOST = 200
"""Operations for several previous states: a compiler takes seconds for them, and minutes for a few times more."""


@dataclass(frozen=True)
class Place:
    """Where a block lies among others: `first`, further on by `more` for each previous state that there is and by
    `step` for each that comes before the one it belongs to."""

    first: int
    more: int = 0
    step: int = 0

    def of(self, arity: int, lane: int = 0) -> int:
        return self.first + self.more * arity + self.step * lane


def _placed(shared: list[Any], apart: list[Any], first: Place, arity: int) -> tuple[dict[Any, Place], Place]:
    """The places of what all lanes share and of what each has, after what ends at `first`, and where they end."""
    begin = first.first + len(shared)
    found = {one: Place(first.first + k, first.more) for k, one in enumerate(shared)}
    found |= {one: Place(begin + k, first.more, len(apart)) for k, one in enumerate(apart)}
    return found, Place(begin, first.more + len(apart))


class UpdatePlan:
    """One traced update, laid out.

    `accs` are its accumulators in the order of memory, `acc` finds them by the node that is their sum, `products` are
    those that the new state depends on, and `nodes` what it depends on, sources first. `stage_of` a product is the
    segment that waits for it, and `roots` has what each segment is to compute: `values` that products of later stages
    read, and in the last one the `outputs`.
    `tensors` are the trace's. `slot` is the place of a node on the tape; the values come first. `marks` are the marked
    pre-activations. What belongs to one of several previous states (`lanes`) is among `nodes` for the first of them
    alone, where a loop stands for the others. The tape has `slots` for a node, of which the first `dvalues` are the
    values'.

    Raises:
        Untraceable: the code would be too long.
    """

    def __init__(self, trace: Trace) -> None:
        self.arity, self.outputs, self.tensors = trace.arity, trace.outputs, trace.tensors
        self._accumulators(trace)
        self.lanes = Lanes()
        self._leave_out()
        lanes = lanes_of(self.arity, self.nodes, self.acc, self.products, self.outputs)
        if not self._read_state(lanes):
            self.lanes = lanes
            self._leave_out()
        if self.arity > 1:
            check_length(len(self.nodes), self.arity)
        self._stages()
        self._slots()
        self.marks = [node for node in self.nodes if leaf_of(node) is None and name_of(node) == "mark"]

    @cached_property
    def gates(self) -> dict[int, int]:
        """Where each gate's activation lies on the tape: number of the gate -> slot."""
        found: dict[int, int] = {}
        for node, slot in self.slot.items():
            if leaf_of(node) is None and node not in self.acc and len(node.all_input_nodes) == 1:
                (argument,) = node.all_input_nodes
                if leaf_of(argument) is None and argument not in self.acc and name_of(argument) == "mark":
                    (argument,) = argument.all_input_nodes
                rows = {row for _, row in self.acc[argument].products} if argument in self.acc else set()
                if len(rows) == 1:
                    found.setdefault(rows.pop(), slot.of(self.arity))
        return found

    def within(self, nodes: Iterable[fx.Node]) -> set[fx.Node]:
        """The nodes, and what they are computed from, down to accumulators; of lanes, the first one's."""
        found: set[fx.Node] = set()
        stack = [self._standing(node) for node in nodes]
        while stack:
            node = stack.pop()
            if node not in found:
                found.add(node)
                stack += [one for one in self.operands(node) if isinstance(one, fx.Node)]
        return found

    def operands(self, node: fx.Node) -> tuple[Value, ...]:
        """What a node is computed from in this plan: of a sum over lanes, what it starts from and its term."""
        if node in self.acc:
            return ()
        if node in self.lanes.sums:
            head, term = self.lanes.sums[node]
            return (term,) if head is None else (head, term)
        return operands_of(node)

    def _standing(self, node: fx.Node) -> fx.Node:
        """The node of the first lane that stands for a node of any."""
        return self.lanes.place.get(node, (node, 0))[0]

    def place_of(self, node: fx.Node, among: dict[fx.Node, Place]) -> int:
        """Where the block of a node lies, of the first lane or another."""
        first, lane = self.lanes.place.get(node, (node, 0))
        return among[first].of(self.arity, lane)

    @cached_property
    def place(self) -> dict[fx.Node, Place]:
        """Where each accumulator lies, by the node that is its sum."""
        shared = [node for node in self._sums if node not in self.lanes.place]
        return _placed(shared, [node for node in self._sums if self.lanes.first(node)], Place(0), self.arity)[0]

    # Accumulators

    def _accumulators(self, trace: Trace) -> None:
        self.acc: dict[fx.Node, Accumulator] = {}
        reached = closure([*self.outputs, *(node for product in self._reached() for node in product.values)])
        for node in trace.graph.nodes:
            if node not in reached:
                continue
            leaf = leaf_of(node)
            if isinstance(leaf, ProductLeaf):
                self.acc[node] = Accumulator([(leaf.product, leaf.block)], [])
            elif leaf is None and name_of(node) == "add":
                self._merge(node, reached)
        number = {product: place for place, product in enumerate(trace.products)}
        self._sums = sorted(self.acc, key=lambda node: min((number[p], row) for p, row in self.acc[node].products))
        used = {id(product) for acc in self.acc.values() for product, _ in acc.products}
        self.products = [product for product in trace.products if id(product) in used]
        self.nodes = [node for node in trace.graph.nodes if node in reached]

    def _reached(self) -> list[Product]:
        """The products that the outputs depend on."""
        found: dict[Product, None] = {}
        front = list(self.outputs)
        while front:
            leaves = map(leaf_of, closure(front))
            products = {leaf.product: None for leaf in leaves if isinstance(leaf, ProductLeaf)}
            front = [node for product in products if product not in found for node in product.values]
            found |= products
        return list(found)

    def _merge(self, node: fx.Node, reached: set[fx.Node]) -> None:
        """Make one accumulator of a sum: of two accumulators, or of one and a vector.

        Left apart, as elementwise code, is a sum with anything else (a number, a computed value, a child's state), of
        two vectors (they need no product), or of an accumulator with itself; and one whose part is read elsewhere
        too, as another sum, a value or an output: it must be had without the other part.
        """
        parts: list[fx.Node] = []
        vectors: list[TensorLeaf] = []
        for operand in operands_of(node):
            leaf = leaf_of(operand)
            if isinstance(leaf, TensorLeaf):
                vectors.append(leaf)
            elif isinstance(operand, fx.Node) and operand in self.acc and _read_once(operand, reached):
                parts.append(operand)
            else:
                return
        if not parts or len(set(parts)) != len(parts):
            return
        merged, *others = (self.acc.pop(part) for part in parts)
        for other in others:
            merged.products += other.products
            merged.vectors += other.vectors
        merged.vectors[:0] = vectors
        self.acc[node] = merged

    def _read_state(self, lanes: Lanes) -> bool:
        """Whether a part of the new state is read, elementwise, by what belongs to one previous state."""
        after = set(self.outputs)
        for node in self.nodes:
            if node not in self.acc and not after.isdisjoint(node.all_input_nodes):
                after.add(node)
        return not after.isdisjoint(lanes.place)

    def _leave_out(self) -> None:
        """Of the nodes, what the segments compute: neither what accumulators gather nor what a loop stands for."""
        written = self.within([*self.outputs, *(value for product in self.products for value in product.values)])
        self.nodes = [node for node in self.nodes if node in written]

    # Stages

    def _stages(self) -> None:
        """A product of values waits for the segment that computes them; values are computed as late as may be."""
        made = [value for product in self.products for value in product.values]
        self.values = list(dict.fromkeys(map(self._standing, made)))
        self.stage_of: dict[Product, int] = {}
        for product in self.products:  # in the order in which they were traced, so sources come first
            self.stage_of[product] = 0
            if product.source == VALUE:
                accs = [self.acc[node] for node in self.within(product.values) if node in self.acc]
                self.stage_of[product] = 1 + max((self._ready(acc) for acc in accs), default=0)
        self.stages = 1 + max(self.stage_of.values(), default=0)
        roots: list[dict[fx.Node, None]] = [{} for _ in range(self.stages)]
        for product in self.products:
            if product.source == VALUE:
                roots[self.stage_of[product] - 1] |= dict.fromkeys(map(self._standing, product.values))
        roots[-1] |= dict.fromkeys(self.outputs)
        self.roots = [list(nodes) for nodes in roots]

    def _ready(self, acc: Accumulator) -> int:
        return max(self.stage_of.get(product, 0) for product, _ in acc.products)

    # The tape

    def _slots(self) -> None:
        """Which values the backward pass reads: each `keep` among them, and each accumulator, gets a slot."""
        needed: set[fx.Node] = set()
        for roots in self.roots:
            for node in self.within(roots):
                for operand in self._read_backward(node):
                    self._need(operand, needed)
        kept = [node for node in self.nodes if node in needed and node not in self.outputs and self._costly(node)]
        end = Place(0)
        self.slot: dict[fx.Node, Place] = {}
        for nodes in (self.values, [node for node in kept if node not in self.values]):
            shared = [node for node in nodes if node not in self.lanes.place]
            places, end = _placed(shared, [node for node in nodes if node in self.lanes.place], end, self.arity)
            self.slot |= places
            if nodes is self.values:
                self.dvalues = end.of(self.arity)
        self.slots = end.of(self.arity)

    def _costly(self, node: fx.Node) -> bool:
        """Whether a node is not computed again."""
        return node in self.acc or (leaf_of(node) is None and OPERATIONS[name_of(node)].keep)

    def _read_backward(self, node: fx.Node) -> list[fx.Node]:
        """The values that the derivative of a node mentions."""
        if leaf_of(node) or node in self.acc:
            return []
        named = dict(zip("ab", operands_of(node), strict=False)) | {"y": node}
        if node in self.lanes.sums:
            return []
        texts = "".join(OPERATIONS[name_of(node)].backward)
        return [one for key, one in named.items() if f"{{{key}}}" in texts and isinstance(one, fx.Node)]

    def _need(self, node: fx.Node, needed: set[fx.Node]) -> None:
        stack = [node]
        while stack:
            one = stack.pop()
            if one in needed:
                continue
            needed.add(one)
            stored = one in self.outputs or one in self.values or self._costly(one) or leaf_of(one)
            if not stored:
                stack += [operand for operand in self.operands(one) if isinstance(operand, fx.Node)]


def check_length(operations: int, arity: int) -> None:
    """Refuse code that is too long to be waited for.

    Raises:
        Untraceable: there are more than `MOST` operations.
    """
    if operations > MOST:
        raise Untraceable(
            f"its code grows with the children of a node: {operations} operations for {arity}, expected at most "
            f"{MOST}, or children that are summed over"
        )


def _read_once(node: fx.Node, reached: set[fx.Node]) -> bool:
    """Whether one alone reads a node: of all that the new state depends on, and the new state itself."""
    users = (user for user in node.users if user in reached or user.op == "output")
    return len(list(islice(users, 2))) == 1
