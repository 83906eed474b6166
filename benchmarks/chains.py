"""Sequences: exact adjoints beside torch's plain modules, which have none.

Ours reads inputs as they come, (batch, time, input); torch's modules get theirs time-major, which is their faster
layout. A step is forward, then backward of a gradient in every hidden state; ours ends by reading the adjoints.
"""

from __future__ import annotations

import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence

from benchmarks.timing import Case, Measured, NotThere, Registry, Step, clear, ratio, rounds_of, same, spread, summed_up
from rnn_research.cells import GRU, LSTM, RNN, Cell, Hidden, HiddenCell
from rnn_research.structures import Chain
from rnn_research.unroll import unroll

SHAPES = {
    "s1": (32, 100, 2, 128),
    "s2": (16, 1000, 10, 64),
    "s3": (64, 784, 1, 128),
    "s4": (128, 100, 64, 256),
    "lm": (64, 100, 64, 256),
}
"""(batch, time, input, hidden); the last is a language model's: window and embedding."""
MAIN = ("s1", "s2", "s3", "s4")
"""What most is measured at."""


class EraseLSTM(Cell):
    """A user's LSTM: the gate e says what is erased, c = (1 - e) c' + i g. Four gates, as `torch.nn.LSTM`."""

    state_type = HiddenCell
    gates = ("i", "e", "g", "o")

    def step(self, projected: Tensor, *previous: Any) -> HiddenCell:
        state = self.summed(projected, previous)
        i, e, g, o = (projected + self.recur(state.hidden)).chunk(4, -1)
        cell = (1 - torch.sigmoid(e)) * state.cell + torch.sigmoid(i) * torch.tanh(g)
        return HiddenCell(torch.sigmoid(o) * torch.tanh(cell), cell)


class LeakyRNN(Cell):
    """A user's vanilla RNN that leaks: h = h' + leak (tanh(W x + U h' + b) - h')."""

    leak = 0.5

    def step(self, projected: Tensor, *previous: Any) -> Hidden:
        hidden = self.summed(projected, previous).hidden
        return Hidden(hidden + self.leak * (torch.tanh(projected + self.recur(hidden)) - hidden))


class Work:
    """One shape's data, and our step on it."""

    def __init__(self, cells: Sequence[Cell], shape: str, lengths: Tensor | None = None) -> None:
        batch, time_steps, features, hidden = SHAPES[shape]
        self.cells = cells
        self.chain = Chain(torch.full((batch,), time_steps) if lengths is None else lengths)
        self.inputs = torch.randn(batch, self.chain.time, features)
        self.gradient = torch.randn(batch, self.chain.time, hidden) / batch
        self.used = ""

    def step(self, record: bool = True, engine: str = "auto") -> Tensor:
        """Forward, backward, and the adjoints of every layer."""
        clear(parameter for cell in self.cells for parameter in cell.parameters())
        unrolled = unroll(self.cells, self.chain, self.inputs, record=record, engine=engine)
        unrolled.hidden.backward(self.gradient)
        if record:
            for layer in unrolled.layers:
                _ = layer.adjoints
        self.used = unrolled.layers[0].engine.used
        return unrolled.hidden

    @property
    def note(self) -> str:
        """Says so, where the engine is not the fast one."""
        return "" if self.used == "native" else f"engine={self.used}"

    def packed(self, values: Tensor) -> Any:
        """(batch, time, ...) as torch's modules read sequences of unequal lengths."""
        return pack_padded_sequence(values.transpose(0, 1), self.chain.lengths, enforce_sorted=False)

    def peer(self, net: nn.RNNBase, packed: bool = False) -> Callable[[], Tensor]:
        """The same by torch's module. Packing is not counted."""
        parameters = list(net.parameters())
        if packed:
            sequences, of_packed = self.packed(self.inputs), self.packed(self.gradient).data

            def step() -> Tensor:
                clear(parameters)
                out = net(sequences)[0].data
                out.backward(of_packed)
                return out

            return step
        inputs, gradient = (tensor.transpose(0, 1).contiguous() for tensor in (self.inputs, self.gradient))

        def plain() -> Tensor:
            clear(parameters)
            out = net(inputs)[0]
            out.backward(gradient)
            return out

        return plain

    def check(
        self, ours: Callable[[], Tensor], peer: Callable[[], Tensor], net: nn.RNNBase, packed: bool = False
    ) -> None:
        """Both give the same states (where there is no padding) and the same gradients of the weights."""
        out, theirs = ours(), peer()
        if not packed:
            theirs = theirs * self.chain.mask.t()[:, :, None]
        same("states", self.packed(out).data if packed else out.transpose(0, 1), theirs, 1e-4)
        for index, cell in enumerate(self.cells):
            for name, parameter in cell.named_parameters():
                theirs = getattr(net, f"{name}_l{index}")
                assert parameter.grad is not None
                assert theirs.grad is not None
                same(f"gradient of {name}_l{index}", parameter.grad, theirs.grad)


def torch_net(cells: Sequence[Cell], kind: type[nn.RNNBase]) -> nn.RNNBase:
    """torch's module with the cells' weights."""
    net = kind(cells[0].input_size, cells[0].hidden_size, num_layers=len(cells))  # type: ignore[call-arg]
    for index, cell in enumerate(cells):
        for name, parameter in cell.named_parameters():
            getattr(net, f"{name}_l{index}").data.copy_(parameter.data)
    return net


def beside_torch(ours: type[Cell], kind: type[nn.RNNBase], shape: str, rounds: int, *, layers: int = 1) -> Measured:
    """Ours with adjoints against torch's module without."""
    _, _, features, hidden = SHAPES[shape]
    cells = [ours(features if index == 0 else hidden, hidden) for index in range(layers)]
    work, net = Work(cells, shape), torch_net(cells, kind)
    peer = work.peer(net)
    work.check(work.step, peer, net)
    said = f"torch.nn.{kind.__name__}{f', {layers} layers' if layers > 1 else ''}"
    return ratio(work.step, peer, rounds, said, note=work.note)


def unequal_lengths(packed: bool, shape: str, rounds: int) -> Measured:
    """Against torch's LSTM on a packed sequence, and on a padded one (where the readout has to leave padding out)."""
    batch, time_steps, features, hidden = SHAPES[shape]
    cell = LSTM(features, hidden)
    work = Work([cell], shape, torch.randint(time_steps // 4, time_steps + 1, (batch,)))
    work.gradient *= work.chain.mask[:, :, None]
    net = torch_net([cell], nn.LSTM)
    peer = work.peer(net, packed)
    work.check(work.step, peer, net, packed)
    return ratio(work.step, peer, rounds, f"{'packed' if packed else 'padded'} torch.nn.LSTM", note=work.note)


def on_off(ours: type[Cell], shape: str, rounds: int) -> Measured:
    """With adjoints against without."""
    work = Work([ours(SHAPES[shape][2], SHAPES[shape][3])], shape)
    work.step()
    off = partial(work.step, record=False)
    return ratio(work.step, off, 3 * rounds, "the same without adjoints", note=work.note)


def user_lstm(shape: str, rounds: int) -> Measured:
    """torch's LSTM with the forget gate's weights negated is the same function: 1 - sigmoid(x) = sigmoid(-x)."""
    _, _, features, hidden = SHAPES[shape]
    cell = EraseLSTM(features, hidden)
    work, net = Work([cell], shape), torch_net([cell], nn.LSTM)
    rows = slice(hidden, 2 * hidden)
    for parameter in net.parameters():
        parameter.data[rows].neg_()

    def negated() -> Tensor:
        out = work.step()
        for parameter in cell.parameters():
            assert parameter.grad is not None
            parameter.grad[rows].neg_()
        return out

    peer = work.peer(net)
    work.check(negated, peer, net)
    return ratio(work.step, peer, rounds, "torch.nn.LSTM", note=work.note)


def user_rnn(shape: str, rounds: int) -> Measured:
    """Without its leak it is torch's RNN; it is timed with it."""
    cell = LeakyRNN(SHAPES[shape][2], SHAPES[shape][3])
    work, net = Work([cell], shape), torch_net([cell], nn.RNN)
    peer = work.peer(net)
    cell.leak = 1.0
    work.check(work.step, peer, net)
    cell.leak = 0.5
    return ratio(work.step, peer, rounds, "torch.nn.RNN", note=work.note)


def with_torch_engine(work: Work, record: bool) -> Step:
    """Our step by the engine `torch`.

    Raises:
        NotThere: there is no such engine for this cell.
    """
    step = partial(work.step, record=record, engine="torch")
    try:
        step()
    except ValueError as error:
        raise NotThere(str(error)) from error
    return step


def torch_engine_rnn(shape: str, rounds: int) -> Measured:
    """The engine that needs no compiler, with adjoints at every step."""
    cell = RNN(SHAPES[shape][2], SHAPES[shape][3])
    work, net = Work([cell], shape), torch_net([cell], nn.RNN)
    ours, peer = with_torch_engine(work, True), work.peer(net)
    work.check(ours, peer, net)  # type: ignore[arg-type]
    return ratio(ours, peer, rounds, "torch.nn.RNN")


def torch_engine_lstm(shape: str, rounds: int) -> Measured:
    """The same for an LSTM with adjoints at one step of ten: (recorded + 9 plain) / 10 of the peer's in each round."""
    cell = LSTM(SHAPES[shape][2], SHAPES[shape][3])
    work, net = Work([cell], shape), torch_net([cell], nn.LSTM)
    recorded, plain, peer = with_torch_engine(work, True), with_torch_engine(work, False), work.peer(net)
    work.check(recorded, peer, net)  # type: ignore[arg-type]
    taken = rounds_of({"recorded": recorded, "plain": plain, "peer": peer}, rounds)
    return summed_up(taken, lambda t: (t["recorded"] + 9 * t["plain"]) / (10 * t["peer"]), "torch.nn.LSTM")


def first_call() -> None:
    """In a process of its own: print what the first unroll of a user's cell takes beyond the second, in seconds of CPU
    (the compiler's included) and on the wall, and the engine. Torch itself is warm."""
    torch.set_num_threads(1)
    out = nn.LSTM(2, 8)(torch.randn(5, 3, 2))[0]
    out.backward(torch.ones_like(out))
    work, taken = Work([EraseLSTM(SHAPES["s1"][2], SHAPES["s1"][3])], "s1"), []
    for _ in range(2):
        before = _with_children(), time.perf_counter()
        work.step()
        taken.append((_with_children() - before[0], time.perf_counter() - before[1]))
    print(json.dumps([*(first - second for first, second in zip(*taken, strict=True)), work.used]))


def _with_children() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return time.process_time() + used[1].ru_utime + used[1].ru_stime


def _first(cache: str) -> tuple[float, float, str]:
    """What `first_call` prints."""
    done = subprocess.run(
        [sys.executable, "-c", "from benchmarks.chains import first_call; first_call()"],
        env=os.environ | {"RNN_RESEARCH_CACHE": cache},
        stdout=subprocess.PIPE,
        check=True,
    )
    return tuple(json.loads(done.stdout))


def first_use(rounds: int) -> Measured:
    """How long the first use of a user's cell waits for the compiler, over `import torch`, both on the wall."""
    ratios, engine = [], ""
    for _ in range(min(rounds, 7)):
        with tempfile.TemporaryDirectory() as folder:
            _, waited, engine = _first(folder)
        before = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import torch"], check=True)
        ratios.append(waited / (time.perf_counter() - before))
    note = "" if engine == "native" else f"; engine={engine}"
    return Measured(statistics.median(ratios), "x", "import torch", spread(ratios) + note)


def compile_seconds(cached: bool, rounds: int) -> Measured:
    """What compiling a user's cell adds to its first unroll; `cached`: in a later process."""
    seconds, engine = [], ""
    with tempfile.TemporaryDirectory() as folder:
        for index in range(min(rounds, 5 if cached else 3) + cached):
            cache = folder if cached else f"{folder}/{index}"
            value, _, engine = _first(cache)
            seconds.append(value)
    kept = seconds[cached:]  # the first one fills the cache
    said = "the second unroll: what the first takes more, " + ("libraries cached" if cached else "empty cache")
    note = "" if engine == "native" else f"; engine={engine}"
    return Measured(statistics.median(kept), "s", said, spread(kept) + note)


def _each(
    measure: Callable[..., Measured],
    *leading: Any,
    target: dict[str, str],
    shapes: Iterable[str] = MAIN,
    **how: Any,
) -> dict[str, Case]:
    """A case for each shape; `target` by shape, "" for the others."""
    return {shape: Case(partial(measure, *leading, shape, **how), target.get(shape, target[""])) for shape in shapes}


REGISTRY: Registry = {
    "lstm_adjoints": _each(beside_torch, LSTM, nn.LSTM, target={"s2": "<= 0.50", "": "<= 0.85"}, shapes=SHAPES),
    "rnn_adjoints": _each(beside_torch, RNN, nn.RNN, target={"s2": "<= 0.20", "": "<= 0.80"}, shapes=SHAPES),
    "gru_adjoints": _each(beside_torch, GRU, nn.GRU, target={"": "<= 0.85"}, shapes=SHAPES),
    "two_layer": _each(beside_torch, LSTM, nn.LSTM, target={"": "<= 1.0"}, layers=2),
    # s3 is left out of packed: torch takes half a minute a step there
    "unequal_lengths": {
        **{shape: Case(partial(unequal_lengths, True, shape), "<= 1.0") for shape in ("s1", "s2", "s4")},
        **{f"{shape} padded": Case(partial(unequal_lengths, False, shape)) for shape in MAIN},
    },
    "adjoints_on_off": {
        f"{cell.__name__.lower()} {shape}": Case(partial(on_off, cell, shape), "<= 1.05")
        for cell in (LSTM, RNN, GRU)
        for shape in ("s1", "s2")
    },
    "user_cell": {
        f"{name} {shape}": Case(partial(measure, shape), "<= 1.0")
        for name, measure in (("lstm_like", user_lstm), ("rnn_like", user_rnn))
        for shape in MAIN
    },
    "user_cell_compile_s": {
        "first": Case(partial(compile_seconds, False), "<= 2"),
        "cached": Case(partial(compile_seconds, True), "<= 0.05"),
    },
    "first_use_vs_import_torch": {"user_cell": Case(first_use, "<= 0.6")},
    "torch_engine_rnn": _each(torch_engine_rnn, target={"": "<= 1.0"}),
    "torch_engine_lstm_every_10": _each(torch_engine_lstm, target={"": "<= 1.10"}),
}
