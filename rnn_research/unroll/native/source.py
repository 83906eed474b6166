"""From a traced update to C: where each number lies, and the code of each segment, forwards and backwards.

The driver (kernel.c) makes the products; between them stand *segments* of elementwise code, one a stage. An
*accumulator* gathers everything that is only summed (W x + U h + b) before a segment reads it. A *slot* of the tape
keeps what the backward pass reads again: the results of costly functions (a gate after its sigmoid), and accumulators
whose own value a derivative needs. Whatever is cheap is computed again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from torch import fx

from rnn_research.unroll.native.trace import VALUE, Product, Trace


class Operation(NamedTuple):
    """C for the result y of operands a, b, and for what its adjoint g gives to each."""

    forward: str
    backward: tuple[str, ...]
    keep: bool = False
    """Costly: its result goes to the tape rather than being computed again."""


OPERATIONS = {
    "identity": Operation("{a}", ("{g}",)),
    "add": Operation("{a} + {b}", ("{g}", "{g}")),
    "sub": Operation("{a} - {b}", ("{g}", "-{g}")),
    "mul": Operation("{a} * {b}", ("{g} * {b}", "{g} * {a}")),
    "div": Operation("{a} / {b}", ("{g} / {b}", "-{g} * {y} / {b}")),
    "neg": Operation("-{a}", ("-{g}",)),
    "sigmoid": Operation("sigmoid_({a})", ("{g} * {y} * (1 - {y})",), keep=True),
    "tanh": Operation("tanh_({a})", ("{g} * (1 - {y} * {y})",), keep=True),
    "relu": Operation("relu_({a})", ("pick({y} <= 0, splat(0), {g})",)),
    "exp": Operation("exp_({a})", ("{g} * {y}",), keep=True),
    "expm1": Operation("expm1_({a})", ("{g} * ({y} + 1)",), keep=True),
    "log": Operation("log_({a})", ("{g} / {a}",), keep=True),
    "log1p": Operation("log1p_({a})", ("{g} / (1 + {a})",), keep=True),
    "sqrt": Operation("sqrt_({a})", ("{g} / (2 * {y})",), keep=True),
    "sin": Operation("sin_({a})", ("{g} * cos_({a})",), keep=True),
    "cos": Operation("cos_({a})", ("-{g} * sin_({a})",), keep=True),
    "erf": Operation("erf_({a})", ("{g} * splat((real)1.1283791670955126) * exp_(-{a} * {a})",), keep=True),
    "abs": Operation("abs_({a})", ("{g} * sign_({a})",)),
    "maximum": Operation(
        "maximum_({a}, {b})",
        _HALVES := (
            "pick({a} == {b}, {g} / 2, pick({a} > {b}, {g}, splat(0)))",
            "pick({a} == {b}, {g} / 2, pick({a} > {b}, splat(0), {g}))",
        ),
    ),
    "minimum": Operation("minimum_({a}, {b})", tuple(reversed(_HALVES))),
}


@dataclass(eq=False)
class Accumulator:
    """Row blocks of products, and vectors, that are only summed."""

    products: list[tuple[Product, int]]
    vectors: list[tuple[int, int]]


class Plan:
    """One traced update, laid out."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.outputs = trace, trace.outputs
        self._accumulators()
        self._stages()
        self._slots()

    def tensors(self) -> set[int]:
        """The numbers of the cell's tensors that the update reads."""
        vectors = {tensor for acc in self.accs for tensor, _ in acc.vectors}
        leaves = (node.meta.get("leaf", ("",)) for node in self.nodes)
        return (
            vectors
            | {product.weight.tensor for product in self.products}
            | {leaf[1] for leaf in leaves if leaf[0] == "tensor"}
        )

    # Accumulators

    def _accumulators(self) -> None:
        self.acc: dict[fx.Node, Accumulator] = {}
        trace = self.trace
        reached = _closure([*self.outputs, *(node for product in self._reached() for node in product.values)])
        for node in trace.graph.nodes:
            if node not in reached:
                continue
            leaf = node.meta.get("leaf", ("",))
            if leaf[0] == "product":
                self.acc[node] = Accumulator([(leaf[1], leaf[2])], [])
            elif node.meta.get("operation") == "add":
                self._merge(node, reached)
        number = {product: place for place, product in enumerate(trace.products)}
        self.accs = sorted(self.acc.values(), key=lambda acc: min((number[p], row) for p, row in acc.products))
        self.products = [p for p in trace.products if any(p is own for acc in self.accs for own, _ in acc.products)]
        self.nodes = [node for node in trace.graph.nodes if node in reached and node.op != "output"]

    def _reached(self) -> list[Product]:
        """The products that the outputs depend on."""
        found: list[Product] = []
        front = list(self.outputs)
        while front:
            products = {
                node.meta["leaf"][1] for node in _closure(front) if node.meta.get("leaf", ("",))[0] == "product"
            }
            front = [node for product in products if product not in found for node in product.values]
            found += [product for product in products if product not in found]
        return found

    def _merge(self, node: fx.Node, reached: set[fx.Node]) -> None:
        """A sum of two accumulators, or of one and a vector, is one, where nothing else reads its parts."""
        parts: list[Accumulator] = []
        vectors: list[tuple[int, int]] = []
        for operand in node.args:
            if not isinstance(operand, fx.Node):
                return
            leaf = operand.meta.get("leaf", ("",))
            if leaf[0] == "tensor":
                vectors.append(leaf[1:])
            elif operand in self.acc and [user for user in operand.users if user in reached or user.op == "output"] == [
                node
            ]:
                parts.append(self.acc[operand])
            else:
                return
        if not parts or len(set(map(id, parts))) != len(parts):
            return
        merged = Accumulator(
            [one for part in parts for one in part.products], [*vectors, *(v for part in parts for v in part.vectors)]
        )
        for known, acc in list(self.acc.items()):
            if acc in parts:
                del self.acc[known]
        self.acc[node] = merged

    # Stages

    def _stages(self) -> None:
        """A product of values waits for the segment that computes them; values are computed as late as may be."""
        self.values = [value for product in self.products for value in product.values]
        self.stage_of: dict[Product, int] = {}
        for product in self.products:  # in the order in which they were traced, so sources come first
            self.stage_of[product] = 0
            if product.source == VALUE:
                accs = [self.acc[node] for node in self._closure(product.values) if node in self.acc]
                self.stage_of[product] = 1 + max((self._ready(acc) for acc in accs), default=0)
        self.stages = 1 + max(self.stage_of.values(), default=0)
        self.roots: list[list[fx.Node]] = [[] for _ in range(self.stages)]
        for product in self.products:
            if product.source == VALUE:
                self.roots[self.stage_of[product] - 1] += product.values
        self.roots[-1] += self.outputs

    def _ready(self, acc: Accumulator) -> int:
        return max(self.stage_of.get(product, 0) for product, _ in acc.products)

    def _closure(self, nodes: Iterable[fx.Node]) -> set[fx.Node]:
        """The nodes, and what they are computed from, down to accumulators."""
        return _closure(nodes, set(self.acc))

    # The tape

    def _slots(self) -> None:
        """Which values the backward pass reads: each `keep` among them, and each accumulator, gets a slot."""
        self.slot: dict[fx.Node, int] = {value: place for place, value in enumerate(self.values)}
        needed: set[fx.Node] = set()
        for roots in self.roots:
            for node in self._closure(roots):
                for operand in self._read_backward(node):
                    self._need(operand, needed)
        for node in self.nodes:
            if node not in needed or node in self.slot or node in self.outputs:
                continue
            if node in self.acc or ("leaf" not in node.meta and OPERATIONS[_name(node)].keep):
                self.slot[node] = len(self.slot)

    def _read_backward(self, node: fx.Node) -> list[fx.Node]:
        """The values that the derivative of a node mentions."""
        if "leaf" in node.meta or node in self.acc:
            return []
        named = dict(zip("ab", node.args, strict=False)) | {"y": node}
        texts = "".join(OPERATIONS[_name(node)].backward)
        return [one for key, one in named.items() if f"{{{key}}}" in texts and isinstance(one, fx.Node)]

    def _need(self, node: fx.Node, needed: set[fx.Node]) -> None:
        if node in needed:
            return
        needed.add(node)
        stored = node in self.outputs or node in self.slot or node in self.acc or "leaf" in node.meta
        if not stored and not OPERATIONS[_name(node)].keep:
            for operand in node.all_input_nodes:
                self._need(operand, needed)


def _closure(nodes: Iterable[fx.Node], stop: set[fx.Node] = frozenset()) -> set[fx.Node]:  # type: ignore[assignment]
    found: set[fx.Node] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node not in found:
            found.add(node)
            if node not in stop:
                stack += node.all_input_nodes
    return found


def _name(node: fx.Node) -> str:
    return node.meta["operation"]


# Code


class _Writer:
    """The code of one segment in one direction."""

    def __init__(self, plan: Plan, stage: int) -> None:
        self.plan, self.stage = plan, stage
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

    def child(self, child: int, part: int, of: str = "state") -> str:
        pointer = self.pointer(f"{of}{part}_child", f"g->{of}[{part}] + g->child[i] * h")
        return f"{pointer} + {child} * h + j"

    def vector(self, tensor: int, block: int, of: str = "vector") -> str:
        return f"g->{of}[{tensor}] + {block} * h + j"

    def value(self, node: fx.Node | float | int) -> str:
        """The name of a node's value; the code that loads or computes it is written when it is first asked for."""
        if not isinstance(node, fx.Node):
            return f"splat((real){float(node)!r})"
        if node not in self.names:
            expression = self._expression(node)
            self.names[node] = f"v{self.order[node]}"
            self.lines.append(f"const vec v{self.order[node]} = {expression};")
        return self.names[node]

    def _expression(self, node: fx.Node) -> str:
        plan, leaf = self.plan, node.meta.get("leaf", ("",))
        if node in self.stored:
            if node in plan.outputs:
                return f"reload({self.state(plan.outputs.index(node))}, n, h)"
            return f"reload({self.slot(node)}, n, g->width)"
        if node in plan.acc:
            return f"load({self.acc(node)}, n)"
        if leaf[0] == "child":
            return f"reload({self.child(leaf[1], leaf[2])}, n, {plan.trace.arity} * h)"
        if leaf[0] == "tensor":
            return f"load({self.vector(leaf[1], leaf[2])}, n)"
        operands = dict(zip("ab", map(self.value, node.args), strict=False))
        return OPERATIONS[_name(node)].forward.format(**operands)

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
    writer = _Writer(plan, stage)
    earlier = set().union(*(plan._closure(roots) for roots in plan.roots[:stage]))
    writer.stored = {node for node in plan.slot if node in earlier}
    here = plan._closure(plan.roots[stage])
    for node in plan.roots[stage]:
        writer.value(node)
    for node in plan.slot:
        if node in here and node not in writer.stored:
            writer.lines.append(f"spill({writer.slot(node)}, {writer.value(node)}, n, g->far);")
    if stage == plan.stages - 1:
        for part, node in enumerate(plan.outputs):
            writer.lines.append(f"store({writer.state(part)}, {writer.value(node)}, n);")
    return writer.function(f"static void {name}(const Group *g)")


def backward(plan: Plan, stage: int, name: str) -> str:
    """C of a segment's derivative: from the adjoints of its states and values to those of what it read."""
    writer = _Writer(plan, stage)
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
            lines.append(f"const vec r{part} = load({pointer} + j, n);")
            lines.append(f"const vec d{part} = {direct} ? load({direct} + j, n) : splat(0);")
            seeds[node] = [f"r{part}", f"d{part}"]
    for node in plan.roots[stage]:
        if node in plan.values:
            pointer = writer.pointer("dvalue", "g->dvalue + i * g->dvalues")
            lines.append(f"const vec s{writer.order[node]} = load({pointer} + {plan.slot[node]} * h + j, n);")
            seeds.setdefault(node, []).append(f"s{writer.order[node]}")
    adjoints = _reverse(writer, plan, plan.roots[stage], seeds, "g")
    if final:
        lines.extend(f"store(adjoint{part} + j, {adjoints[node]}, n);" for part, node in enumerate(plan.outputs))
        _record(writer, plan, before, after)
    first_use = {
        acc: max(s for s in range(plan.stages) if node in plan._closure(plan.roots[s]))
        for node, acc in plan.acc.items()
    }
    for node, adjoint in adjoints.items():
        leaf = node.meta.get("leaf", ("",))
        if node in plan.acc:
            known = f"load({writer.acc(node)}, n) + " if first_use[plan.acc[node]] != stage else ""
            lines.append(f"store({writer.acc(node)}, {known}{adjoint}, n);")
        elif leaf[0] == "child":
            where = writer.child(leaf[1], leaf[2], "adjoint")
            lines.append(f"store({where}, load({where}, n) + {adjoint}, n);")
        elif leaf[0] == "tensor":
            where = writer.vector(leaf[1], leaf[2], "dvector")
            lines.append(f"if (g->dvector[{leaf[1]}]) store({where}, load({where}, n) + {adjoint}, n);")
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
) -> dict[fx.Node, str]:
    """Reverse mode through a segment (or the nodes `among` it). The name of each node's adjoint."""
    parts = {node: list(terms) for node, terms in seeds.items()}
    names: dict[fx.Node, str] = {}
    for node in sorted(plan._closure(roots), key=writer.order.__getitem__, reverse=True):
        if node not in parts or (among is not None and node not in among):
            continue
        names[node] = f"{prefix}{writer.order[node]}"
        writer.lines.append(f"const vec {names[node]} = {' + '.join(parts[node])};")
        if node in plan.acc or "leaf" in node.meta:
            continue
        operation = OPERATIONS[_name(node)]
        for operand, text in zip(node.args, operation.backward, strict=True):
            if not isinstance(operand, fx.Node) or (among is not None and operand not in among):
                continue
            read = {key: writer.value(one) for key, one in zip("ab", node.args, strict=False) if f"{{{key}}}" in text}
            if "{y}" in text:
                read["y"] = writer.value(node)
            parts.setdefault(operand, []).append("(" + text.format(g=names[node], **read) + ")")
    return names


def _record(writer: _Writer, plan: Plan, before: list[str], after: list[str]) -> None:
    """Squared norms: of each state's adjoint (record >= 1), and (record >= 2) of its direct and its recurrent part,
    which may also be stored themselves."""
    count = len(plan.outputs)
    between = {node for node in plan.nodes if any(out in _closure([node], set(plan.acc)) for out in plan.outputs)}
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


def source(plans: Iterable[Plan]) -> str:
    """The C of some updates: `forward_A` and `backward_A`, the segments of the update with A previous states."""
    text = ['#include "kernel.h"\n']
    for plan in plans:
        arity = plan.trace.arity
        for direction, write in (("forward", forward), ("backward", backward)):
            names = [f"{direction}_{arity}_{stage}" for stage in range(plan.stages)]
            text += [write(plan, stage, name) for stage, name in enumerate(names)]
            text.append(f"const Update {direction}_{arity}[] = {{{', '.join(names)}}};\n")
    return "\n".join(text)
