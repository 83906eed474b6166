"""From a plan to C: the code of each segment, forwards and backwards.

A segment is a function of one group of nodes (`Group`, kernel.h): it goes over the rows, and along each in vectors.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable

from torch import fx

from rnn_research.unroll.native.graph import ChildLeaf, TensorLeaf, leaf_of, name_of, operands_of
from rnn_research.unroll.native.operations import OPERATIONS, Value
from rnn_research.unroll.native.plan import Plan


class _Writer:
    """The code of one segment in one direction."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.names: dict[fx.Node, str] = {}
        self.pointers: dict[str, str] = {}
        self.lines: list[str] = []
        self.order = {node: number for number, node in enumerate(plan.nodes)}
        self.stored: set[fx.Node] = set()
        """What memory holds before this code runs."""

    def pointer(self, name: str, value: str, kind: str = "real *") -> str:
        self.pointers.setdefault(name, f"{kind}const {name} = {value};")
        return name

    def acc(self, node: fx.Node) -> str:
        return self.pointer("acc", "g->acc + i * g->accs") + f" + {self.plan.accs.index(self.plan.acc[node])} * h + j"

    def slot(self, node: fx.Node) -> str:
        return self.pointer("tape", "g->tape + i * g->width") + f" + {self.plan.slot[node]} * h + j"

    def state(self, part: int) -> str:
        return self.pointer(f"state{part}", f"g->state[{part}] + g->row[i] * h") + " + j"

    def child(self, leaf: ChildLeaf, of: str = "state") -> str:
        pointer = self.pointer(f"{of}{leaf.part}_child", f"g->{of}[{leaf.part}] + g->child[i] * h")
        return f"{pointer} + {leaf.child} * h + j"

    def vector(self, leaf: TensorLeaf, of: str = "vector") -> str:
        return f"g->{of}[{leaf.tensor}] + {leaf.block} * h + j"

    def value(self, node: Value) -> str:
        """The name of a node's value; the code that loads or computes it is written when it is first asked for."""
        if not isinstance(node, fx.Node):
            return f"splat((real){float(node)!r})"
        if node not in self.names:
            expression = self._expression(node)
            self.names[node] = f"v{self.order[node]}"
            self.lines.append(f"const vec v{self.order[node]} = {expression};")
        return self.names[node]

    def _expression(self, node: fx.Node) -> str:
        plan, leaf = self.plan, leaf_of(node)
        if node in self.stored:
            if node in plan.outputs:
                return f"reload({self.state(plan.outputs.index(node))}, n, h)"
            return f"reload({self.slot(node)}, n, g->width)"
        if node in plan.acc:
            return f"load({self.acc(node)}, n)"
        if isinstance(leaf, ChildLeaf):
            return f"reload({self.child(leaf)}, n, {plan.arity} * h)"
        if isinstance(leaf, TensorLeaf):
            return f"load({self.vector(leaf)}, n)"
        operands = dict(zip("ab", map(self.value, operands_of(node)), strict=False))
        return OPERATIONS[name_of(node)].forward.format(**operands)

    def function(self, signature: str, before: str = "", after: str = "") -> str:
        body = "\n            ".join(self.lines)
        pointers = "\n        ".join(self.pointers.values())
        return f"""{signature} {{
    const long h = g->hidden;
    for (long i = 0; i < g->rows; i++) {{
        {pointers}
        {before}
        long j = 0;
        for (; j + LANES <= h; j += LANES) {{
            const long n = LANES;
            {body}
        }}
        if (j < h) {{
            const long n = h - j;
            {body}
        }}
        {after}
    }}
}}
"""


def forward(plan: Plan, stage: int, name: str) -> str:
    """C of a segment: its values and states from the accumulators, and what goes to the tape."""
    writer = _Writer(plan)
    earlier = set().union(*(plan.within(roots) for roots in plan.roots[:stage]))
    writer.stored = {node for node in plan.slot if node in earlier}
    here = plan.within(plan.roots[stage])
    for node in plan.roots[stage]:
        writer.value(node)
    for node in plan.slot:
        if node in here and node not in writer.stored:
            writer.lines.append(f"spill({writer.slot(node)}, {writer.value(node)}, n, g->far);")
    if stage == plan.stages - 1:
        for part, node in enumerate(plan.outputs):
            writer.lines.append(f"store({writer.state(part)}, {writer.value(node)}, n);")
    return writer.function(f"static void {name}(const Group *g)")


def backward(plan: Plan, stage: int, name: str, acting: bool = False) -> str:
    """C of a segment's derivative: from the adjoints of its states and values to those of what it read. `acting`: with
    what acts on adjoints and on marked pre-activations (`Group.scale`, `Group.limit`)."""
    writer = _Writer(plan)
    writer.stored = {*plan.slot, *plan.outputs}
    final = stage == plan.stages - 1
    lines, before, after = writer.lines, [], []
    seeds: dict[fx.Node, list[str]] = {}
    if final:
        for part, node in enumerate(plan.outputs):
            pointer = writer.pointer(f"adjoint{part}", f"g->adjoint[{part}] + g->row[i] * h")
            direct = writer.pointer(
                f"direct{part}",
                f"g->direct[{part}].base ? at(g->direct + {part}, g->row[i]) : (real *)0",
                "const real *",
            )
            recurrent, own = f"load({pointer} + j, n)", f"load({direct} + j, n)"
            if acting:
                count = len(plan.outputs)
                scale = writer.pointer("scale", f"g->scale + i * {count + 1}", "const real *")
                recurrent = f"{scale}[{part}] == 0 ? splat(0) : {recurrent} * {scale}[{part}]"
                own = f"{own} * {scale}[{count}]"
            lines.append(f"const vec r{part} = {recurrent};")
            lines.append(f"const vec d{part} = {direct} ? {own} : splat(0);")
            seeds[node] = [f"r{part}", f"d{part}"]
    for node in plan.roots[stage]:
        if node in plan.values:
            pointer = writer.pointer("dvalue", "g->dvalue + i * g->dvalues")
            lines.append(f"const vec s{writer.order[node]} = load({pointer} + {plan.slot[node]} * h + j, n);")
            seeds.setdefault(node, []).append(f"s{writer.order[node]}")
    adjoints = _reverse(writer, plan, plan.roots[stage], seeds, "g", clamps=acting)
    if "limit" in writer.pointers:
        before.append("Square came = {0}, left = {0};")
        after += [
            f"if (clamped) clamped[{k}][g->row[i]] += total(&{which});" for k, which in enumerate(("came", "left"))
        ]
    if final:
        lines.extend(f"store(adjoint{part} + j, {adjoints[node]}, n);" for part, node in enumerate(plan.outputs))
        _record(writer, plan, before, after)
    first_use = {
        acc: max(s for s in range(plan.stages) if node in plan.within(plan.roots[s])) for node, acc in plan.acc.items()
    }
    for node, adjoint in adjoints.items():
        leaf = leaf_of(node)
        if node in plan.acc:
            known = f"load({writer.acc(node)}, n) + " if first_use[plan.acc[node]] != stage else ""
            lines.append(f"store({writer.acc(node)}, {known}{adjoint}, n);")
        elif isinstance(leaf, ChildLeaf):
            where = writer.child(leaf, "adjoint")
            lines.append(f"store({where}, load({where}, n) + {adjoint}, n);")
        elif isinstance(leaf, TensorLeaf):
            where = writer.vector(leaf, "dvector")
            lines.append(f"if (g->dvector[{leaf.tensor}]) store({where}, load({where}, n) + {adjoint}, n);")
    for node, acc in plan.acc.items():  # read by no segment: no adjoint
        if first_use[acc] == stage and node not in adjoints:
            lines.append(f"store({writer.acc(node)}, splat(0), n);")
    rows = writer.function(
        f"INLINE void {name}_rows(const Group *g, const int record)",
        "\n        ".join(before),
        "\n        ".join(after),
    )
    if not final:
        return rows + f"static void {name}(const Group *g) {{\n    {name}_rows(g, 0);\n}}\n"
    split = f"g->recurrent || (g->square && g->square[{len(plan.outputs)}])"
    choice = f"if ({split}) {name}_rows(g, 2);\n    else if (g->square) {name}_rows(g, 1);\n    else {name}_rows(g, 0);"
    return rows + f"static void {name}(const Group *g) {{\n    {choice}\n}}\n"


def _reverse(
    writer: _Writer,
    plan: Plan,
    roots: Iterable[fx.Node],
    seeds: dict[fx.Node, list[str]],
    prefix: str,
    among: set[fx.Node] | None = None,
    clamps: bool = False,
) -> dict[fx.Node, str]:
    """Reverse mode through a segment (or the nodes `among` it). The name of each node's adjoint. `clamps`: those of
    marked pre-activations are clamped before they go on."""
    parts = {node: list(terms) for node, terms in seeds.items()}
    names: dict[fx.Node, str] = {}
    for node in sorted(plan.within(roots), key=writer.order.__getitem__, reverse=True):
        if node not in parts or (among is not None and node not in among):
            continue
        names[node] = f"{prefix}{writer.order[node]}"
        writer.lines.append(f"const vec {names[node]} = {' + '.join(parts[node])};")
        if node in plan.acc or leaf_of(node):
            continue
        operation = OPERATIONS[name_of(node)]
        passed = _clamped(writer, names[node]) if clamps and name_of(node) == "mark" else names[node]
        for operand, text in zip(operands_of(node), operation.backward, strict=True):
            if not isinstance(operand, fx.Node) or (among is not None and operand not in among):
                continue
            named = dict(zip("ab", operands_of(node), strict=False)) | {"y": node}
            read = {key: writer.value(one) for key, one in named.items() if f"{{{key}}}" in text}
            parts.setdefault(operand, []).append("(" + text.format(g=passed, **read) + ")")
    return names


def _clamped(writer: _Writer, name: str) -> str:
    """The name of a clamped adjoint, whose square is recorded before and after."""
    limit = writer.pointer("limit", "g->limit", "real ")
    clamped = writer.pointer("clamped", "g->clamped", "double *const *")
    writer.lines.append(f"const vec k{name} = limited({name}, {limit});")
    writer.lines.append(f"if ({clamped}) square(&came, {name}), square(&left, k{name});")
    return f"k{name}"


def _record(writer: _Writer, plan: Plan, before: list[str], after: list[str]) -> None:
    """Squared norms: of each state's adjoint (record >= 1), and (record >= 2) of its direct and its recurrent part,
    which may also be stored themselves."""
    count = len(plan.outputs)
    between = {node for node in plan.nodes if any(out in plan.within([node]) for out in plan.outputs)}
    totals = [f"g{writer.order[node]}" for node in plan.outputs]
    lines, writer.lines = writer.lines, []
    parts = []
    for letter in "dr":
        seeds = {node: [f"{letter}{part}"] for part, node in enumerate(plan.outputs)}
        names = _reverse(writer, plan, plan.outputs, seeds, f"{letter}_", between)
        parts.append([names[node] for node in plan.outputs])
    inner, writer.lines = writer.lines, lines
    inner += [f"square(&square{k + count}, {name});" for k, name in enumerate([*parts[0], *parts[1]])]
    inner += [
        f"if (g->recurrent) store(g->recurrent[{part}] + g->row[i] * h + j, {name}, n);"
        for part, name in enumerate(parts[1])
    ]
    writer.lines += [f"if (record) square(&square{k}, {name});" for k, name in enumerate(totals)]
    writer.lines.append("if (record > 1) {\n                " + "\n                ".join(inner) + "\n            }")
    before += [f"Square square{k} = {{0}};" for k in range(3 * count)]
    after += [
        f"if (record > {int(k >= count)} && g->square) g->square[{k}][g->row[i]] = total(&square{k});"
        for k in range(3 * count)
    ]


def source(plans: Iterable[Plan], acting: bool = False) -> str:
    """The C of some updates: `forward_A` and `backward_A`, the segments of the update with A previous states.
    `acting`: with what acts within the backward pass."""
    text = ['#include "kernel.h"\n']
    for plan in plans:
        arity = plan.arity
        for direction, write in (("forward", forward), ("backward", functools.partial(backward, acting=acting))):
            names = [f"{direction}_{arity}_{stage}" for stage in range(plan.stages)]
            text += [write(plan, stage, name) for stage, name in enumerate(names)]
            text.append(f"const Update {direction}_{arity}[] = {{{', '.join(names)}}};\n")
    return "\n".join(text)
