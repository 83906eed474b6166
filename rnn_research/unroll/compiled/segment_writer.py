"""The C of one segment in one direction: names, loads and stores, and the loops around them.

A segment is a function of one group of nodes (`Group`, kernel.h). It goes over the rows, and along each in vectors.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from torch import fx

from rnn_research.unroll.compiled.graph import ChildLeaf, TensorLeaf, leaf_of, name_of
from rnn_research.unroll.compiled.operations import OPERATIONS, Value
from rnn_research.unroll.compiled.update_plan import Place, UpdatePlan

NEXT = "\n        "
SIZES = "const long h = g->hidden, children = g->arity;\n    (void)children;"


class SegmentWriter:
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
