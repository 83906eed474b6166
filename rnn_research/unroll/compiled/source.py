"""From a plan to C: the code of each segment, forwards and backwards.

A segment is a function of one group of nodes (`Group`, kernel.h): it goes over the rows, and along each in vectors.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import fx

from rnn_research.unroll.compiled.graph import ChildLeaf, TensorLeaf, leaf_of, name_of
from rnn_research.unroll.compiled.operations import OPERATIONS, Value
from rnn_research.unroll.compiled.update_plan import Place, UpdatePlan


class _Writer:
    """The code of one segment in one direction.

    What belongs to one of several previous states is written in loops over them; a value in a loop has a name within
    that loop alone, and is computed again in another.
    """

    def __init__(self, plan: UpdatePlan) -> None:
        self.plan = plan
        self.names: dict[fx.Node, str] = {}
        self.pointers: dict[str, str] = {}
        self.lines: list[str] = []
        self.loop: tuple[dict[fx.Node, str], list[str]] | None = None
        """Names and lines of the loop that is being written."""
        self.order = {node: number for number, node in enumerate(plan.nodes)}
        self.stored: set[fx.Node] = set()
        """What memory holds before this code runs."""
        self.spilled: dict[fx.Node, bool] = {}
        """What this code is to leave on the tape, and whether it has."""

    def pointer(self, name: str, value: str, kind: str = "real *") -> str:
        self.pointers.setdefault(name, f"{kind}const {name} = {value};")
        return name

    def block(self, place: Place) -> str:
        """How many blocks lie before one's place."""
        terms = [str(place.first)] if place.first or not (place.more or place.step) else []
        terms += [f"{place.more} * children"] * (place.more > 0) + [f"{place.step} * k"] * (place.step > 0)
        return terms[0] if len(terms) == 1 else f"({' + '.join(terms)})"

    def acc(self, node: fx.Node) -> str:
        return self.pointer("acc", "g->acc + i * g->accs") + f" + {self.block(self.plan.place[node])} * h + j"

    def slot(self, node: fx.Node) -> str:
        return self.pointer("tape", "g->tape + i * g->width") + f" + {self.block(self.plan.slot[node])} * h + j"

    def state(self, part: int) -> str:
        return self.pointer(f"state{part}", f"g->state[{part}] + g->row[i] * h") + " + j"

    def child(self, node: fx.Node, leaf: ChildLeaf, of: str = "state") -> str:
        pointer = self.pointer(f"{of}{leaf.part}_child", f"g->{of}[{leaf.part}] + g->child[i] * h")
        return f"{pointer} + {'k' if node in self.plan.lanes.place else leaf.child} * h + j"

    def vector(self, leaf: TensorLeaf, of: str = "vector") -> str:
        return f"g->{of}[{leaf.tensor}] + {leaf.block} * h + j"

    @contextmanager
    def over_children(self) -> Iterator[list[str]]:
        """A loop over the previous states: what is written meanwhile and belongs to one of them is its body."""
        outer, self.loop = self.loop, ({}, [])
        body = self.loop[1]
        yield body
        self.loop = outer
        if body:
            inside = "\n                ".join(body)
            self.lines.append(f"for (long k = 0; k < children; k++) {{\n                {inside}\n            }}")

    def known(self, node: fx.Node) -> str | None:
        """The name of a node's value, where it can be read."""
        return self.loop[0].get(node) if self.loop and node in self.plan.lanes.place else self.names.get(node)

    def value(self, node: Value) -> str:
        """The name of a node's value; the code that loads or computes it is written when it is first asked for."""
        if not isinstance(node, fx.Node):
            return f"splat((real){float(node)!r})"
        missing, stack = set[fx.Node](), [node]
        while stack:
            one = stack.pop()
            if one in missing or self.known(one):
                continue
            missing.add(one)
            if one not in self.stored and one not in self.plan.lanes.sums:
                stack += [operand for operand in self.plan.operands(one) if isinstance(operand, fx.Node)]
        for one in sorted(missing, key=self.order.__getitem__):
            self._write(one)
        found = self.known(node)
        assert found is not None
        return found

    def _write(self, node: fx.Node) -> None:
        name = f"v{self.order[node]}"
        names, lines = self.names, self.lines
        if node in self.plan.lanes.place:
            assert self.loop is not None
            names, lines = self.loop
        if node in self.plan.lanes.sums and node not in self.stored:
            self._write_sum(name, *self.plan.lanes.sums[node])
        else:
            lines.append(f"const vec {name} = {self._expression(node)};")
        names[node] = name
        if not self.spilled.get(node, True):
            self.spilled[node] = True
            lines.append(f"spill({self.slot(node)}, {name}, n, g->far);")

    def _write_sum(self, name: str, head: Value | None, term: fx.Node) -> None:
        start = "splat(0)" if head is None else self.value(head)
        with self.over_children() as body:
            body.append(f"{name} = {name} + {self.value(term)};")
            self.lines.append(f"vec {name} = {start};")

    def _expression(self, node: fx.Node) -> str:
        plan, leaf = self.plan, leaf_of(node)
        if node in self.stored:
            if node in plan.outputs:
                return f"reload({self.state(plan.outputs.index(node))}, n, h)"
            return f"reload({self.slot(node)}, n, g->width)"
        if node in plan.acc:
            return f"load({self.acc(node)}, n)"
        if isinstance(leaf, ChildLeaf):
            return f"reload({self.child(node, leaf)}, n, children * h)"
        if isinstance(leaf, TensorLeaf):
            return f"load({self.vector(leaf)}, n)"
        operands = dict(zip("ab", map(self.value, plan.operands(node)), strict=False))
        return OPERATIONS[name_of(node)].forward.format(**operands)

    def function(self, name: str) -> str:
        """A segment along the rows."""
        body = "\n            ".join(self.lines)
        return f"""static void {name}(const Group *g) {{
    {SIZES}
    for (long i = 0; i < g->rows; i++) {{
        {self._pointers()}
        long j = 0;
        for (; j + LANES <= h; j += LANES) {{
            const long n = LANES;
            {body}
        }}
        if (j < h) {{
            const long n = h - j;
            {body}
        }}
    }}
}}
"""

    def recording(self, name: str, squares: list[str], after: list[str]) -> str:
        """The same in variants: code that knows what is recorded (`record`). The end of a row, where it fills no
        vector, is in one function that asks."""
        body, count = "\n            ".join(self.lines), len(squares)
        declared = " ".join(f"Square {square} = {{0}};" for square in squares)
        given = " ".join(f"Square {square} = rest[{k}];" for k, square in enumerate(squares))
        back = " ".join(f"rest[{k}] = {square};" for k, square in enumerate(squares))
        again = " ".join(f"{square} = rest[{k}];" for k, square in enumerate(squares))
        return f"""static __attribute__((noinline))
void {name}_end(const Group *g, int record, long i, long j, Square *rest) {{
    {SIZES}
    const long n = h - j;
    (void)record, (void)rest;
        {self._pointers()}
            {given}
            {body}
            {back}
}}
INLINE void {name}_rows(const Group *g, const int record) {{
    {SIZES}
    for (long i = 0; i < g->rows; i++) {{
        {self._pointers()}
        {declared}
        long j = 0;
        for (; j + LANES <= h; j += LANES) {{
            const long n = LANES;
            {body}
        }}
        if (j < h) {{
            Square rest[{max(count, 1)}];
            {back}
            {name}_end(g, record, i, j, rest);
            {again}
        }}
        {NEXT.join(after)}
    }}
}}
"""

    def _pointers(self) -> str:
        return NEXT.join(self.pointers.values())


NEXT = "\n        "
SIZES = "const long h = g->hidden, children = g->arity;\n    (void)children;"


def forward(plan: UpdatePlan, stage: int, name: str) -> str:
    """C of a segment: its values and states from the accumulators, and what goes to the tape."""
    writer = _Writer(plan)
    earlier = set().union(*(plan.within(roots) for roots in plan.roots[:stage]))
    writer.stored = {node for node in plan.slot if node in earlier}
    here = plan.within(plan.roots[stage])
    writer.spilled = {node: False for node in plan.slot if node in here and node not in writer.stored}
    for nodes in (plan.roots[stage], list(writer.spilled)):
        for node in nodes:
            if node not in plan.lanes.place:
                writer.value(node)
        with writer.over_children():
            for node in nodes:
                if node in plan.lanes.place and not writer.spilled.get(node, False):
                    writer.value(node)
    if stage == plan.stages - 1:
        for part, node in enumerate(plan.outputs):
            writer.lines.append(f"store({writer.state(part)}, {writer.value(node)}, n);")
    return writer.function(name)


def backward(plan: UpdatePlan, stage: int, name: str, intervenes: bool = False) -> str:
    """C of a segment's derivative: from the adjoints of its states and values to those of what it read. `acting`: with
    what acts on adjoints and on marked pre-activations (`Group.scale`, `Group.limit`)."""
    writer = _Writer(plan)
    writer.stored = {*plan.slot, *plan.outputs}
    final = stage == plan.stages - 1
    lines, squares, after = writer.lines, [], []
    seeds: dict[fx.Node, list[str]] = {}
    if final:
        for part, node in enumerate(plan.outputs):
            lines += _arriving(writer, part, intervenes)
            seeds[node] = [f"r{part}", f"d{part}"]
    values = [node for node in plan.roots[stage] if node in plan.values]
    for node in values:
        if node not in plan.lanes.place:
            lines.append(f"const vec s{writer.order[node]} = {_of_product(writer, node)};")
        seeds.setdefault(node, []).append(f"s{writer.order[node]}")
    leaves = _Leaves(writer, stage)
    adjoints = _reverse(writer, plan.roots[stage], seeds, "g", leaves=leaves, clamps=intervenes)
    if "limit" in writer.pointers:
        squares += ["came", "left"]
        after += [
            f"if (clamped) clamped[{k}][g->row[i]] = joined(clamped[{k}][g->row[i]], norm(&{which}));"
            for k, which in enumerate(("came", "left"))
        ]
    if final:
        lines.extend(f"store(adjoint{part} + j, {adjoints[node]}, n);" for part, node in enumerate(plan.outputs))
        _record(writer, plan, squares, after)
    leaves.finish()
    rows = writer.recording(name, squares, after)
    if not final:
        return rows + f"static void {name}(const Group *g) {{\n    {name}_rows(g, 0);\n}}\n"
    split = f"g->recurrent || (g->norm && g->norm[{len(plan.outputs)}])"
    choice = f"if ({split}) {name}_rows(g, 2);\n    else if (g->norm) {name}_rows(g, 1);\n    else {name}_rows(g, 0);"
    return rows + f"static void {name}(const Group *g) {{\n    {choice}\n}}\n"


def _arriving(writer: _Writer, part: int, intervenes: bool) -> list[str]:
    """The two parts of the adjoint of a part of the state: from later states, and from outside."""
    pointer = writer.pointer(f"adjoint{part}", f"g->adjoint[{part}] + g->row[i] * h")
    where = f"g->direct[{part}].base ? at(g->direct + {part}, g->row[i]) : (real *)0"
    direct = writer.pointer(f"direct{part}", where, "const real *")
    recurrent, own = f"load({pointer} + j, n)", f"load({direct} + j, n)"
    if intervenes:
        count = len(writer.plan.outputs)
        scale = writer.pointer("scale", f"g->scale + i * {count + 1}", "const real *")
        recurrent = f"{scale}[{part}] == 0 ? splat(0) : {recurrent} * {scale}[{part}]"
        own = f"{own} * {scale}[{count}]"
    return [f"const vec r{part} = {recurrent};", f"const vec d{part} = {direct} ? {own} : splat(0);"]


def _of_product(writer: _Writer, node: fx.Node) -> str:
    """The adjoint that products of a value have left for it."""
    pointer = writer.pointer("dvalue", "g->dvalue + i * g->dvalues")
    return f"load({pointer} + {writer.block(writer.plan.slot[node])} * h + j, n)"


class _Leaves:
    """Where a segment's derivative leaves the adjoints of what it read. Of what belongs to one previous state, within
    the loop; else at the end, as these take the place of values that are read until then."""

    def __init__(self, writer: _Writer, stage: int) -> None:
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


def _reverse(
    writer: _Writer,
    roots: Iterable[fx.Node],
    seeds: dict[fx.Node, list[str]],
    prefix: str,
    among: set[fx.Node] | None = None,
    leaves: _Leaves | None = None,
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
    writer: _Writer,
    nodes: Iterable[fx.Node],
    level: dict[fx.Node, int],
    stage: int,
    parts: dict[fx.Node, list[str]],
    prefix: str,
    leaves: _Leaves,
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
                terms.append(_of_product(writer, node))
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
    writer: _Writer, node: fx.Node, name: str, lines: list[str], clamps: bool, record: bool
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


def _clamped(writer: _Writer, name: str, lines: list[str], record: bool) -> str:
    """The name of a clamped adjoint, whose norm is recorded before and after."""
    limit = writer.pointer("limit", "g->limit", "real ")
    clamped = writer.pointer("clamped", "g->clamped", "double *const *")
    lines.append(f"const vec k{name} = limited({name}, {limit});")
    if record:
        lines.append(f"if ({clamped}) square(&came, {name}), square(&left, k{name});")
    return f"k{name}"


def _record(writer: _Writer, plan: UpdatePlan, squares: list[str], after: list[str]) -> None:
    """Norms: of each state's adjoint (record >= 1), and (record >= 2) of its direct and its recurrent part,
    which may also be stored themselves."""
    count = len(plan.outputs)
    between = {node for node in plan.nodes if any(out in plan.within([node]) for out in plan.outputs)}
    totals = [f"g{writer.order[node]}" for node in plan.outputs]
    lines, writer.lines = writer.lines, []
    parts = []
    for letter in "dr":
        seeds = {node: [f"{letter}{part}"] for part, node in enumerate(plan.outputs)}
        names = _reverse(writer, plan.outputs, seeds, f"{letter}_", between)
        parts.append([names[node] for node in plan.outputs])
    inner, writer.lines = writer.lines, lines
    inner += [f"square(&square{k + count}, {name});" for k, name in enumerate([*parts[0], *parts[1]])]
    inner += [
        f"if (g->recurrent) store(g->recurrent[{part}] + g->row[i] * h + j, {name}, n);"
        for part, name in enumerate(parts[1])
    ]
    writer.lines += [f"if (record) square(&square{k}, {name});" for k, name in enumerate(totals)]
    writer.lines.append("if (record > 1) {\n                " + "\n                ".join(inner) + "\n            }")
    squares += [f"square{k}" for k in range(3 * count)]
    after += [
        f"if (record > {int(k >= count)} && g->norm) g->norm[{k}][g->row[i]] = norm(&square{k});"
        for k in range(3 * count)
    ]


def source(plan: UpdatePlan, intervenes: bool = False) -> str:
    """The C of an update: `forward` and `backward`, its segments. `acting`: with what acts within the backward pass."""
    text = ['#include "kernel.h"\n']
    for stage in range(plan.stages):
        text.append(forward(plan, stage, f"forward_{stage}"))
        text.append(backward(plan, stage, f"backward_{stage}", intervenes))
    for direction in ("forward", "backward"):
        names = ", ".join(f"{direction}_{stage}" for stage in range(plan.stages))
        text.append(f"const Update {direction}[] = {{{names}}};\n")
    return "\n".join(text)
