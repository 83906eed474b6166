"""Reverse mode through one segment: the C of the adjoints of what it read, from those of what it computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from torch import fx

from rnn_research.unroll.compiled.graph import ChildLeaf, TensorLeaf, leaf_of, name_of
from rnn_research.unroll.compiled.operations import OPERATIONS
from rnn_research.unroll.compiled.segment_writer import SegmentWriter
from rnn_research.unroll.compiled.update_plan import UpdatePlan


def adjoint_of_product(writer: SegmentWriter, node: fx.Node) -> str:
    """The adjoint that products of a value have left for it."""
    pointer = writer.pointer("dvalue", "g->dvalue + i * g->dvalues")
    return f"load({pointer} + {writer.block(writer.plan.slot[node])} * h + j, n)"


class LeafAdjoints:
    """Where a segment's derivative leaves the adjoints of what it read. Of what belongs to one previous state, within
    the loop; else at the end, as these take the place of values that are read until then."""

    def __init__(self, writer: SegmentWriter, stage: int) -> None:
        self.writer = writer
        plan = writer.plan
        within = [plan.within(roots) for roots in plan.roots]
        last = {node: max(s for s, nodes in enumerate(within) if node in nodes) for node in plan.place}
        self.here = {node for node in plan.place if node in within[stage]}
        self.first = {node for node in plan.place if last[node] == stage}
        """Accumulators that no later segment reads: they have no adjoint yet."""
        self.written: set[fx.Node] = set()
        self.waiting: list[str] = []

    def add(self, node: fx.Node, adjoint: str, lines: list[str] | None = None) -> None:
        """What becomes of a leaf's adjoint. `lines`: of the loop."""
        writer, leaf = self.writer, leaf_of(node)
        lines = self.waiting if lines is None else lines
        self.written.add(node)
        if node in writer.plan.acc:
            known = "" if node in self.first else f"load({writer.acc(node)}, n) + "
            lines.append(f"store({writer.acc(node)}, {known}{adjoint}, n);")
        elif isinstance(leaf, ChildLeaf):
            where = writer.child(node, leaf, "adjoint")
            lines.append(f"store({where}, load({where}, n) + {adjoint}, n);")
        elif isinstance(leaf, TensorLeaf):
            where = writer.vector(leaf, "dvector")
            lines.append(f"if (g->dvector[{leaf.tensor}]) store({where}, load({where}, n) + {adjoint}, n);")

    def finish(self) -> None:
        writer = self.writer
        writer.lines += self.waiting
        unread = [node for node in self.first if node not in self.written]  # by any segment: no adjoint
        unread.sort(key=writer.order.__getitem__)
        apart = writer.plan.lanes.place
        writer.lines += [f"store({writer.acc(node)}, splat(0), n);" for node in unread if node not in apart]
        with writer.over_children() as body:
            body += [f"store({writer.acc(node)}, splat(0), n);" for node in unread if node in apart]


def _levels(plan: UpdatePlan, nodes: Iterable[fx.Node]) -> dict[fx.Node, int]:
    """How many sums over previous states lie one after the other below each node. Sources come first."""
    found: dict[fx.Node, int] = {}
    for node in nodes:
        below = [found[one] for one in plan.operands(node) if isinstance(one, fx.Node)]
        found[node] = max(below, default=0)
        if node in plan.lanes.sums:
            found[node] = max(found[node], found[plan.lanes.sums[node][1]] + 1)
    return found


def reverse(
    writer: SegmentWriter,
    roots: Iterable[fx.Node],
    seeds: dict[fx.Node, list[str]],
    prefix: str,
    among: set[fx.Node] | None = None,
    leaves: LeafAdjoints | None = None,
    clamps: bool = False,
) -> dict[fx.Node, str]:
    """Reverse mode through a segment (or the nodes `among` it). The name of each node's adjoint, save in loops.
    `clamps`: those of marked pre-activations are clamped before they go on."""
    plan, order = writer.plan, writer.order
    parts = {node: list(terms) for node, terms in seeds.items()}
    names: dict[fx.Node, str] = {}
    within = sorted(plan.within(roots), key=order.__getitem__)
    level = _levels(plan, within)
    chosen = [node for node in within[::-1] if among is None or node in among]
    for stage in range(max(level.values(), default=0), -1, -1):
        if leaves is not None:
            _reverse_children(
                writer, [n for n in chosen if level[n] >= stage], level, stage, parts, prefix, leaves, clamps
            )
        for node in chosen:
            if level[node] != stage or node not in parts or node in plan.lanes.place:
                continue
            names[node] = f"{prefix}{order[node]}"
            writer.lines.append(f"const vec {names[node]} = {' + '.join(parts[node])};")
            if node in plan.acc or leaf_of(node):
                if leaves is not None:
                    leaves.add(node, names[node])
                continue
            for operand, text in _passed(writer, node, names[node], writer.lines, clamps, True):
                if among is None or operand in among:
                    parts.setdefault(operand, []).append(text)
            head = plan.lanes.sums[node][0] if node in plan.lanes.sums else None
            if isinstance(head, fx.Node):
                parts.setdefault(head, []).append(names[node])
    return names


def _reverse_children(
    writer: SegmentWriter,
    nodes: Iterable[fx.Node],
    level: dict[fx.Node, int],
    stage: int,
    parts: dict[fx.Node, list[str]],
    prefix: str,
    leaves: LeafAdjoints,
    clamps: bool,
) -> None:
    """The loop over previous states at one level: the adjoints of what belongs to each. What they add to those of what
    all share is added up; those from higher levels are only carried on, as their own loop has added them."""
    plan, order = writer.plan, writer.order
    nodes = list(nodes)
    if not any(node in plan.lanes.place and level[node] == stage for node in nodes):
        return
    own: dict[fx.Node, list[str]] = {}
    for total in nodes:
        if total in plan.lanes.sums and total in parts:
            own.setdefault(plan.lanes.sums[total][1], []).append(f"{prefix}{order[total]}")
    shared: dict[fx.Node, None] = {}
    with writer.over_children() as lines:
        for node in nodes:
            if node not in plan.lanes.place or not (node in own or node in parts):
                continue
            terms = [*own.get(node, [])]
            if node in plan.values and node in parts:
                terms.append(adjoint_of_product(writer, node))
            name = f"{prefix}{order[node]}"
            lines.append(f"const vec {name} = {' + '.join(terms)};")
            if node in plan.acc or leaf_of(node):
                leaves.add(node, name, lines)
                continue
            for operand, text in _passed(writer, node, name, lines, clamps, level[node] == stage):
                if operand in plan.lanes.place:
                    own.setdefault(operand, []).append(text)
                elif level[node] == stage:
                    shared[operand] = None
                    lines.append(f"t{stage}_{order[operand]} = t{stage}_{order[operand]} + {text};")
        for operand in shared:
            writer.lines.append(f"vec t{stage}_{order[operand]} = splat(0);")
            parts.setdefault(operand, []).append(f"t{stage}_{order[operand]}")


def _passed(
    writer: SegmentWriter, node: fx.Node, name: str, lines: list[str], clamps: bool, record: bool
) -> Iterator[tuple[fx.Node, str]]:
    """What a node's adjoint adds to those of its operands."""
    if node in writer.plan.lanes.sums:
        return
    operands = writer.plan.operands(node)
    passed = _clamped(writer, name, lines, record) if clamps and name_of(node) == "mark" else name
    for operand, text in zip(operands, OPERATIONS[name_of(node)].backward, strict=True):
        if isinstance(operand, fx.Node):
            named = dict(zip("ab", operands, strict=False)) | {"y": node}
            read = {key: writer.value(one) for key, one in named.items() if f"{{{key}}}" in text}
            yield operand, "(" + text.format(g=passed, **read) + ")"


def _clamped(writer: SegmentWriter, name: str, lines: list[str], record: bool) -> str:
    """The name of a clamped adjoint, whose norm is recorded before and after."""
    limit = writer.pointer("limit", "g->limit", "real ")
    clamped = writer.pointer("clamped", "g->clamped", "double *const *")
    lines.append(f"const vec k{name} = limited({name}, {limit});")
    if record:
        lines.append(f"if ({clamped}) square(&came, first_lanes({name}, n)), square(&left, first_lanes(k{name}, n));")
    return f"k{name}"
