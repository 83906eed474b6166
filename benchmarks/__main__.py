"""`make bench`: what exact adjoints cost. Prints a table and writes outputs/bench.json.

Each row is a ratio to its baseline, forward and backward, taken round by round with the order reversed each round, so
that a machine that slows down slows both.
"""

from __future__ import annotations

import json
import platform
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rnn_research.cells import GRU, LSTM, RNN, Cell, ChildSumTreeLSTM
from rnn_research.structures import Chain, Forest, Tree, balanced
from rnn_research.unroll import unroll

SHAPES = {
    "s1": (32, 100, 2, 128),
    "s2": (16, 1000, 10, 64),
    "s3": (64, 784, 1, 128),
    "s4": (128, 100, 64, 256),
}
ROUNDS = 5
Step = Callable[[], None]


def ratio(ours: Step, baseline: Step, rounds: int = ROUNDS) -> float:
    """The median over rounds of ours / baseline in CPU seconds, after one warm-up of each."""
    ours()
    baseline()
    ratios = []
    for index in range(rounds):
        seconds = {}
        for step in (ours, baseline) if index % 2 else (baseline, ours):
            start = time.process_time()
            step()
            seconds[step] = time.process_time() - start
        ratios.append(seconds[ours] / seconds[baseline])
    return statistics.median(ratios)


def chain_step(cell: Cell, shape: tuple[int, int, int, int], record: bool) -> Step:
    """Forward and backward of the last step's states, with or without every adjoint."""
    batch, time_steps, features, _ = shape
    return unrolled_step(
        cell, Chain(torch.full((batch,), time_steps)), torch.randn(batch, time_steps, features), record
    )


def forest_step(cell: Cell, forest: Forest, record: bool) -> Step:
    """The same of the roots' states."""
    return unrolled_step(cell, forest, torch.randn(forest.nodes, cell.input_size), record)


def unrolled_step(cell: Cell, structure: Chain | Forest, inputs: torch.Tensor, record: bool) -> Step:
    """Forward and backward of the last states of a structure."""

    def step() -> None:
        unrolled = unroll(cell, structure, inputs, record=record)
        structure.terminal(unrolled.hidden).sum().backward()
        if record:
            _ = unrolled.adjoints

    return step


def torch_step(net: nn.RNNBase, shape: tuple[int, int, int, int]) -> Step:
    """The same by torch's own fused module, without adjoints."""
    inputs = torch.randn(*shape[:3])
    return lambda: net(inputs)[0][:, -1].sum().backward()


def peer_step(trees: list[Tree], features: int, hidden: int) -> Step:
    """The roots' states by the package pytorch-tree-lstm, without adjoints."""
    from treelstm import TreeLSTM, batch_tree_input, calculate_evaluation_orders

    samples = []
    for tree in trees:
        edges = np.stack([tree.parent[1:], np.arange(1, len(tree))], 1)
        nodes, order = calculate_evaluation_orders(edges, len(tree))
        tensors = (torch.from_numpy(array) for array in (nodes, order, edges))
        sample = dict(zip(("node_order", "edge_order", "adjacency_list"), tensors, strict=True))
        samples.append({"features": torch.randn(len(tree), features), **sample})
    batch, net = batch_tree_input(samples), TreeLSTM(features, hidden)
    roots = torch.tensor([0, *batch.pop("tree_sizes")[:-1]]).cumsum(0)
    return lambda: net(**batch)[0][roots].sum().backward()


def rows() -> list[dict[str, object]]:
    """Every measured ratio."""
    found = []

    def add(name: str, case: str, value: float, baseline: str) -> None:
        found.append({"name": name, "case": case, "ratio": round(value, 3), "unit": "x", "baseline": baseline})
        print(f"{name:26} {case:8} {value:7.2f} x {baseline}", flush=True)

    for case, shape in SHAPES.items():
        pairs = {"rnn": (RNN, nn.RNN), "lstm": (LSTM, nn.LSTM), "gru": (GRU, nn.GRU)}
        for name, (ours, theirs) in pairs.items():
            cell, net = ours(shape[2], shape[3]), theirs(shape[2], shape[3], batch_first=True)
            value = ratio(chain_step(cell, shape, record=True), torch_step(net, shape))
            add(f"{name}_adjoints", case, value, f"torch.nn.{theirs.__name__}")
    for name, cell in {"rnn": RNN(2, 128), "lstm": LSTM(2, 128), "gru": GRU(2, 128)}.items():
        value = ratio(chain_step(cell, SHAPES["s1"], True), chain_step(cell, SHAPES["s1"], False), 15)
        add("adjoints_on_off", f"{name} s1", value, "the same without adjoints")
    forest = Forest.of([balanced(length) for length in range(5, 30)])
    tree = ChildSumTreeLSTM(300, 150)
    value = ratio(forest_step(tree, forest, True), forest_step(tree, forest, False), 15)
    add("adjoints_on_off", "trees", value, "the same without adjoints")
    random = np.random.default_rng(0)
    for count in (25, 128):
        trees = [balanced(int(length)) for length in random.integers(5, 36, count)]
        value = ratio(peer_step(trees, 300, 150), forest_step(tree, Forest.of(trees), True))
        add("tree_vs_pytorch_tree_lstm", str(count), value, "pytorch-tree-lstm (trees per second)")
    return found


def main() -> None:
    """Measure, print, and write outputs/bench.json."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    machine = {"processor": platform.machine(), "system": platform.system(), "torch": torch.__version__}
    report = {"engine": "reference", "machine": machine, "results": rows()}
    path = Path("outputs/bench.json")
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")
    print(f"written to {path}")


if __name__ == "__main__":
    main()
