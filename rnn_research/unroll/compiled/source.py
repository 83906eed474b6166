"""From a plan to C: the code of each segment, forwards and backwards."""

from __future__ import annotations

from torch import fx

from rnn_research.unroll.compiled.reverse import LeafAdjoints, adjoint_of_product, reverse
from rnn_research.unroll.compiled.segment_writer import SegmentWriter
from rnn_research.unroll.compiled.update_plan import UpdatePlan


def forward(plan: UpdatePlan, stage: int, name: str) -> str:
    """C of a segment: its values and states from the accumulators, and what goes to the tape."""
    writer = SegmentWriter(plan)
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
    writer = SegmentWriter(plan)
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
            lines.append(f"const vec s{writer.order[node]} = {adjoint_of_product(writer, node)};")
        seeds.setdefault(node, []).append(f"s{writer.order[node]}")
    leaves = LeafAdjoints(writer, stage)
    adjoints = reverse(writer, plan.roots[stage], seeds, "g", leaves=leaves, clamps=intervenes)
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


def _arriving(writer: SegmentWriter, part: int, intervenes: bool) -> list[str]:
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


def _record(writer: SegmentWriter, plan: UpdatePlan, squares: list[str], after: list[str]) -> None:
    """Norms: of each state's adjoint (record >= 1), and (record >= 2) of its direct and its recurrent part,
    which may also be stored themselves."""
    count = len(plan.outputs)
    between = {node for node in plan.nodes if any(out in plan.within([node]) for out in plan.outputs)}
    totals = [f"g{writer.order[node]}" for node in plan.outputs]
    lines, writer.lines = writer.lines, []
    parts = []
    for letter in "dr":
        seeds = {node: [f"{letter}{part}"] for part, node in enumerate(plan.outputs)}
        names = reverse(writer, plan.outputs, seeds, f"{letter}_", between)
        parts.append([names[node] for node in plan.outputs])
    inner, writer.lines = writer.lines, lines
    inner += [f"square(&square{k + count}, first_lanes({name}, n));" for k, name in enumerate([*parts[0], *parts[1]])]
    inner += [
        f"if (g->recurrent) store(g->recurrent[{part}] + g->row[i] * h + j, {name}, n);"
        for part, name in enumerate(parts[1])
    ]
    writer.lines += [f"if (record) square(&square{k}, first_lanes({name}, n));" for k, name in enumerate(totals)]
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
