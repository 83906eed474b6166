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

from torch import fx

from rnn_research.unroll.native.graph import (
    VALUE,
    Product,
    ProductLeaf,
    TensorLeaf,
    Trace,
    closure,
    leaf_of,
    name_of,
    operands_of,
)
from rnn_research.unroll.native.operations import OPERATIONS


@dataclass(eq=False)
class Accumulator:
    """Row blocks of products, and blocks of the cell's vectors, that are only summed."""

    products: list[tuple[Product, int]]
    vectors: list[TensorLeaf]


class Plan:
    """One traced update, laid out.

    `accs` are its accumulators in the order of memory, `acc` finds them by the node that is their sum, `products` are
    those that the new state depends on, and `nodes` what it depends on, sources first. `stage_of` a product is the
    segment that waits for it, and `roots` has what each segment is to compute: `values` that products of later stages
    read, and in the last one the `outputs`.
    `tensors` are the trace's. `slot` is the place of a node on the tape; the values come first. `marks` are the marked
    pre-activations.
    """

    def __init__(self, trace: Trace) -> None:
        self.arity, self.outputs, self.tensors = trace.arity, trace.outputs, trace.tensors
        self._accumulators(trace)
        self._stages()
        self._slots()
        self.marks = [node for node in self.nodes if leaf_of(node) is None and name_of(node) == "mark"]

    @cached_property
    def gates(self) -> dict[int, int]:
        """The slots of functions of one accumulator, by the row block of the weights that it sums: an LSTM's gates."""
        found: dict[int, int] = {}
        for node, slot in self.slot.items():
            if leaf_of(node) is None and node not in self.acc and len(node.all_input_nodes) == 1:
                (argument,) = node.all_input_nodes
                if leaf_of(argument) is None and argument not in self.acc and name_of(argument) == "mark":
                    (argument,) = argument.all_input_nodes
                rows = {row for _, row in self.acc[argument].products} if argument in self.acc else set()
                if len(rows) == 1:
                    found.setdefault(rows.pop(), slot)
        return found

    def within(self, nodes: Iterable[fx.Node]) -> set[fx.Node]:
        """The nodes, and what they are computed from, down to accumulators."""
        return closure(nodes, self.acc)

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
        self.accs = sorted(self.acc.values(), key=lambda acc: min((number[p], row) for p, row in acc.products))
        self.products = [p for p in trace.products if any(p is own for acc in self.accs for own, _ in acc.products)]
        self.nodes = [node for node in trace.graph.nodes if node in reached]

    def _reached(self) -> list[Product]:
        """The products that the outputs depend on."""
        found: list[Product] = []
        front = list(self.outputs)
        while front:
            leaves = map(leaf_of, closure(front))
            products = {leaf.product for leaf in leaves if isinstance(leaf, ProductLeaf)}
            front = [node for product in products if product not in found for node in product.values]
            found += [product for product in products if product not in found]
        return found

    def _merge(self, node: fx.Node, reached: set[fx.Node]) -> None:
        """Make one accumulator of a sum: of two accumulators, or of one and a vector.

        Left apart, as elementwise code, is a sum with anything else (a number, a computed value, a child's state), of
        two vectors (they need no product), or of an accumulator with itself; and one whose part is read elsewhere
        too, as another sum, a value or an output: it must be had without the other part.
        """
        parts: list[Accumulator] = []
        vectors: list[TensorLeaf] = []
        for operand in operands_of(node):
            leaf = leaf_of(operand)
            if isinstance(leaf, TensorLeaf):
                vectors.append(leaf)
            elif isinstance(operand, fx.Node) and operand in self.acc and _users(operand, reached) == [node]:
                parts.append(self.acc[operand])
            else:
                return
        if not parts or len(set(map(id, parts))) != len(parts):
            return
        for part in parts:
            vectors += part.vectors
        self.acc = {known: acc for known, acc in self.acc.items() if acc not in parts}
        self.acc[node] = Accumulator([one for part in parts for one in part.products], vectors)

    # Stages

    def _stages(self) -> None:
        """A product of values waits for the segment that computes them; values are computed as late as may be."""
        self.values = [value for product in self.products for value in product.values]
        self.stage_of: dict[Product, int] = {}
        for product in self.products:  # in the order in which they were traced, so sources come first
            self.stage_of[product] = 0
            if product.source == VALUE:
                accs = [self.acc[node] for node in self.within(product.values) if node in self.acc]
                self.stage_of[product] = 1 + max((self._ready(acc) for acc in accs), default=0)
        self.stages = 1 + max(self.stage_of.values(), default=0)
        self.roots: list[list[fx.Node]] = [[] for _ in range(self.stages)]
        for product in self.products:
            if product.source == VALUE:
                self.roots[self.stage_of[product] - 1] += product.values
        self.roots[-1] += self.outputs

    def _ready(self, acc: Accumulator) -> int:
        return max(self.stage_of.get(product, 0) for product, _ in acc.products)

    # The tape

    def _slots(self) -> None:
        """Which values the backward pass reads: each `keep` among them, and each accumulator, gets a slot."""
        self.slot: dict[fx.Node, int] = {value: place for place, value in enumerate(self.values)}
        needed: set[fx.Node] = set()
        for roots in self.roots:
            for node in self.within(roots):
                for operand in self._read_backward(node):
                    self._need(operand, needed)
        for node in self.nodes:
            if node not in needed or node in self.slot or node in self.outputs:
                continue
            if node in self.acc or (leaf_of(node) is None and OPERATIONS[name_of(node)].keep):
                self.slot[node] = len(self.slot)

    def _read_backward(self, node: fx.Node) -> list[fx.Node]:
        """The values that the derivative of a node mentions."""
        if leaf_of(node) or node in self.acc:
            return []
        named = dict(zip("ab", operands_of(node), strict=False)) | {"y": node}
        texts = "".join(OPERATIONS[name_of(node)].backward)
        return [one for key, one in named.items() if f"{{{key}}}" in texts and isinstance(one, fx.Node)]

    def _need(self, node: fx.Node, needed: set[fx.Node]) -> None:
        if node in needed:
            return
        needed.add(node)
        stored = node in self.outputs or node in self.slot or node in self.acc or leaf_of(node)
        if not stored and not OPERATIONS[name_of(node)].keep:
            for operand in node.all_input_nodes:
                self._need(operand, needed)


def _users(node: fx.Node, reached: set[fx.Node]) -> list[fx.Node]:
    """What reads a node: of all that the new state depends on, and the new state itself."""
    return [user for user in node.users if user in reached or user.op == "output"]
