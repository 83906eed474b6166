"""Trees: a Child-Sum Tree-LSTM with adjoints beside pytorch-tree-lstm and beside plain recursion, which have none.

Random binary trees with as many leaves as sentences have words, 300 features at every node, 150 hidden units. A step
is forward, then backward of a gradient in every node's h (each phrase has a label); making the batch is not counted.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from benchmarks.timing import Case, Measured, Registry, clear, ratio, rounds_of, same, summed_up
from rnn_research.cells import ChildSumTreeLSTM
from rnn_research.structures import Forest, Tree
from rnn_research.structures.tree import unary
from rnn_research.unroll import unroll

FEATURES, HIDDEN = 300, 150


def sst_like(count: int, seed: int = 0) -> list[Tree]:
    """Trees of random binary splits; leaves: gamma of mean 19, within 2..52, as the Stanford Sentiment Treebank's."""
    random = np.random.default_rng(seed)
    leaves = np.clip(np.round(random.gamma(4.2, 19 / 4.2, count)), 2, 52).astype(int)
    return [_split(int(number), random) for number in leaves]


def _split(leaves: int, random: np.random.Generator) -> Tree:
    parent, open_nodes = [-1], [(0, leaves)]
    while open_nodes:
        node, number = open_nodes.pop()
        if number > 1:
            left = int(random.integers(1, number))
            open_nodes += [(len(parent), left), (len(parent) + 1, number - left)]
            parent += [node, node]
    return Tree.of(parent)[0]


class Work:
    """Trees with features, a cell, and our step on them. The features and gradients lie tree after tree."""

    def __init__(self, trees: list[Tree], cell: ChildSumTreeLSTM) -> None:
        self.trees, self.cell = trees, cell
        self.forest = Forest.of(trees)
        self.features = torch.randn(self.forest.nodes, FEATURES)
        self.gradient = torch.randn(self.forest.nodes, HIDDEN) / len(trees)
        self._inputs, self._direct = self.features[self.forest.order], self.gradient[self.forest.order]
        self.used = ""

    def step(self, record: bool = True) -> Tensor:
        """Forward, backward and the adjoints."""
        clear(self.cell.parameters())
        unrolled = unroll(self.cell, self.forest, self._inputs, record=record)
        unrolled.hidden.backward(self._direct)
        if record:
            _ = unrolled.adjoints
        self.used = unrolled.top.engine.used
        return unrolled.hidden

    @property
    def note(self) -> str:
        nodes = f"{self.forest.nodes} nodes, {len(self.forest.levels) - 1} levels"
        return nodes if self.used == "native" else f"{nodes}; engine={self.used}"

    def gates(self, of: Callable[[Tensor], Tensor | None]) -> dict[str, Tensor]:
        """W and U split as the peers have them: of the gates i, o, g together and of f."""
        found = {}
        for letter, tensor in {"W": self.cell.weight_ih, "U": self.cell.weight_hh, "b": self.cell.bias_ih}.items():
            assert tensor is not None
            values = of(tensor)
            assert values is not None
            i, f, g, o = values.chunk(4)
            found |= {f"{letter}_iou": torch.cat([i, o, g]), f"{letter}_f": f}
        return found


def package_step(work: Work) -> tuple[nn.Module, Callable[[], Tensor]]:
    """The same by pytorch-tree-lstm, with the same weights; it has no bias in U."""
    from treelstm import TreeLSTM, batch_tree_input, calculate_evaluation_orders

    samples, start = [], 0
    for tree in work.trees:
        edges = np.stack([tree.parent[1:], np.arange(1, len(tree))], 1)
        nodes, order = calculate_evaluation_orders(edges, len(tree))
        tensors = (torch.from_numpy(array) for array in (nodes, order, edges))
        sample = dict(zip(("node_order", "edge_order", "adjacency_list"), tensors, strict=True))
        samples.append({"features": work.features[start : start + len(tree)], **sample})
        start += len(tree)
    batch, net = batch_tree_input(samples), TreeLSTM(FEATURES, HIDDEN)
    batch.pop("tree_sizes")
    with torch.no_grad():
        for name, values in work.gates(lambda tensor: tensor.data).items():
            letter, _, gate = name.partition("_")
            target = getattr(net, f"W_{gate}").bias if letter == "b" else getattr(net, name).weight
            target.copy_(values)
    parameters = list(net.parameters())

    def step() -> Tensor:
        clear(parameters)
        hidden = net(**batch)[0]
        hidden.backward(work.gradient)
        return hidden

    return net, step


def beside_package(count: int, rounds: int) -> Measured:
    """Trees per second over the package's."""
    cell = ChildSumTreeLSTM(FEATURES, HIDDEN)
    assert cell.bias_hh is not None
    cell.bias_hh.data.zero_()
    work = Work(sst_like(count), cell)
    net, peer = package_step(work)
    same("states", work.step(), peer()[work.forest.order], 1e-4)
    for name, values in work.gates(lambda tensor: tensor.grad).items():
        letter, _, gate = name.partition("_")
        theirs = getattr(net, f"W_{gate}").bias if letter == "b" else getattr(net, name).weight
        same(f"gradient of {name}", values, theirs.grad)
    return ratio(work.step, peer, rounds, "pytorch-tree-lstm's trees per second", higher=True, note=work.note)


def recursion_step(work: Work) -> Callable[[], Tensor]:
    """The same with our own weights, one node at a time: a function that calls itself on the children."""
    cell, rows, children = work.cell, work.features.unbind(), [[] for _ in range(work.forest.nodes)]
    roots, start = [], 0
    for tree in work.trees:
        roots.append(start)
        for node, above in enumerate(tree.parent[1:].tolist(), 1):
            children[start + above].append(start + node)
        start += len(tree)

    def step() -> Tensor:
        clear(cell.parameters())
        gate = work.gates(lambda tensor: tensor)
        assert cell.bias_hh is not None
        i, f, g, o = cell.bias_hh.chunk(4)
        bias, bias_f = gate["b_iou"] + torch.cat([i, o, g]), gate["b_f"] + f
        hidden: list[Tensor] = [torch.empty(0)] * len(rows)

        def update(node: int) -> tuple[Tensor, Tensor]:
            below = [update(child) for child in children[node]]
            iou = linear(rows[node], gate["W_iou"], bias)
            if below:
                iou = iou + linear(sum(h for h, _ in below), gate["U_iou"])  # type: ignore[arg-type]
            i, o, u = iou.chunk(3)
            c = torch.sigmoid(i) * torch.tanh(u)
            if below:
                of_input = linear(rows[node], gate["W_f"], bias_f)
                for h, memory in below:
                    c = c + torch.sigmoid(of_input + linear(h, gate["U_f"])) * memory
            hidden[node] = torch.sigmoid(o) * torch.tanh(c)
            return hidden[node], c

        for root in roots:
            update(root)
        out = torch.stack(hidden)
        out.backward(work.gradient)
        return out

    return step


def beside_recursion(count: int, rounds: int) -> Measured:
    """Trees per second over recursion's."""
    work = Work(sst_like(count), ChildSumTreeLSTM(FEATURES, HIDDEN))
    peer, gradients = recursion_step(work), []
    states = []
    for step in (work.step, peer):
        states.append(step())
        gradients.append([parameter.grad for parameter in work.cell.parameters()])
    same("states", states[0], states[1][work.forest.order], 1e-4)
    for ours, theirs in zip(*gradients, strict=True):
        same("gradient", ours, theirs)
    del states, gradients
    return ratio(work.step, peer, rounds, "recursion's trees per second", higher=True, note=work.note)


def depth_cost(rounds: int) -> Measured:
    """Time a node on 25 deep trees, chains of 50, over that on 25 like the treebank's."""
    cell = ChildSumTreeLSTM(FEATURES, HIDDEN)
    deep, usual = Work([unary(50)] * 25, cell), Work(sst_like(25), cell)
    taken = rounds_of({"chains": deep.step, "trees": usual.step}, rounds)
    nodes = deep.forest.nodes / usual.forest.nodes
    said = "the same on SST-like trees, a node"
    return summed_up(taken, lambda t: t["chains"] / t["trees"] / nodes, said, f"{deep.note}; {usual.note}")


def on_off(count: int, rounds: int) -> Measured:
    """With adjoints against without."""
    work = Work(sst_like(count), ChildSumTreeLSTM(FEATURES, HIDDEN))
    work.step()
    return ratio(work.step, partial(work.step, record=False), 3 * rounds, "the same without adjoints", note=work.note)


REGISTRY: Registry = {
    "tree_vs_pytorch_tree_lstm": {
        str(count): Case(partial(beside_package, count), f">= {target}")
        for count, target in ((25, "3.0"), (128, "2.5"), (512, "2.3"))
    },
    "tree_vs_recursion": {"25": Case(partial(beside_recursion, 25), ">= 18")},
    "tree_depth_cost": {"25": Case(depth_cost, "<= 1.5")},
    "adjoints_on_off": {"trees 25": Case(partial(on_off, 25), "<= 1.05")},
}
