"""An encoder and a decoder: an independent loop's loss, gradients, adjoints and their parts; distances; what acts."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from small import Given, model_of, run, sentences
from torch import Tensor, nn

from rnn_research import curves
from rnn_research.cells import GRU, LSTM, RNN, ChildSumTreeLSTM, NaryTreeLSTM
from rnn_research.clipping.adjoint_norm import AdjointNorm
from rnn_research.clipping.h_detach import HDetach
from rnn_research.clipping.tbptt import TBPTT
from rnn_research.compare import optional_tables
from rnn_research.datasets.task import Task
from rnn_research.models import Model
from rnn_research.models.architectures import EncoderDecoder, Label
from rnn_research.probes.adjoint import Adjoint
from rnn_research.probes.callback import attended_adjoints, observation_of, terminal_adjoints
from rnn_research.probes.saturation import Saturation
from rnn_research.records import runs
from rnn_research.regularizers.omega import Omega
from rnn_research.structures import BalancedTreeLayout, ChainLayout, ParseTreeLayout, Sample

TASK = Task("sequence", input_size=7, output_size=5, tokens=True)
READ, WRITTEN = (5, 1, 7, 3), (2, 6, 0, 4)
ATTENTIONS = ("none", "dot", "additive", "location")


def samples(seed: int = 0) -> list[Sample]:
    random = np.random.default_rng(seed)
    return [
        Sample(random.integers(1, 7, read), 0, target_sequence=random.integers(1, 5, written))
        for read, written in zip(READ, WRITTEN, strict=True)
    ]


def made(cell: Any = LSTM, attention: str = "dot", engine: str = "auto", layers: int = 2, **more: Any) -> Model:
    """A model whose embeddings and states are large enough to tell one from another."""
    architecture = partial(EncoderDecoder, attention=attention)
    how: dict[str, Any] = {"num_layers": layers, "engine": engine, "architecture": architecture, **more}
    model = model_of(Given(TASK, samples()), cell, **how).double()
    with torch.no_grad():
        for embedding in (model.embedding, model.target_embedding):
            embedding.weight.mul_(10)
    return model


def alias(state: Any) -> Any:
    """The same numbers, which keep a gradient of their own."""
    other = type(state)(*(part * 1.0 for part in state))
    for part in other:
        part.retain_grad()
    return other


def chain(cell: Any, inputs: list[Tensor], state: Any = None) -> list[Any]:
    states = []
    for read in inputs:
        state = cell(read, *([] if state is None else [state]))
        for part in state:
            part.retain_grad()
        states.append(state)
    return states


def attended(model: Model, states: list[Tensor], memory: list[Tensor]) -> list[Tensor]:
    """h~ by the equations, one step and one position at a time."""
    net, found, weights = model.attention, [], torch.zeros(len(memory))
    for d in states:
        scores = []
        for t, m in enumerate(memory):
            if hasattr(net, "filters"):
                near = [(t + j - 15, net.filters.weight[:, 0, j]) for j in range(31)]
                located = sum(weights[at] * w for at, w in near if 0 <= at < len(memory))
                whole = net.of_query(d) + net.of_memory(m) + net.of_location(located)
                scores.append(net.score(whole.tanh())[0, 0])
            elif hasattr(net, "score"):
                scores.append(net.score((net.of_query(d) + net.of_memory(m)).tanh())[0, 0])
            else:
                scores.append((d * (m if net.project is None else net.project(m))).sum())
        weights = torch.stack(scores).exp() / torch.stack(scores).exp().sum()
        context = sum(weight * m for weight, m in zip(weights, memory, strict=True))
        found.append(d + net.of_context(context))
    return found


class Loop:
    """One sample at a time, by the cells themselves.

    `chains` has of each sample the states of each chain of the encoder, in its own order, then those of each layer of
    the decoder; `memory` what attention reads, and `ends` the states that leave the encoder, both with gradients of
    their own. `last` is the summed loss of the last tokens. `cut` is memory or ends, through which no gradient passes.
    """

    def __init__(self, model: Model, given: list[Sample], cut: str = "") -> None:
        self.model, self.losses, self.lasts, self.cut = model, [], [], cut
        self.chains: list[list[list[Any]]] = []
        self.memory: list[list[Tensor]] = []
        self.ends: list[list[Any]] = []
        for sample in given:
            self._sample(sample)
        self.loss, self.last = torch.cat(self.losses).mean(), torch.stack(self.lasts).sum()

    def forget(self) -> None:
        """The gradients of a backward pass, before another of the same graph."""
        self.model.zero_grad()
        for state in (state for chains in self.chains for states in chains for state in states):
            for part in state:
                part.grad = None

    def _sample(self, sample: Sample) -> None:
        model, layers = self.model, self.model.architecture.blueprint.num_layers
        both = model.architecture.blueprint.bidirectional
        inputs = list(model.embedding(torch.from_numpy(sample.inputs))[:, None])
        chains, cells = [], iter(model.cells)
        for _ in range(layers):
            chains.append(chain(next(cells), inputs))
            if both:
                chains.append(chain(next(cells), inputs[::-1]))
                pairs = zip(chains[-2], chains[-1][::-1], strict=True)
                inputs = [torch.cat([one.hidden, other.hidden], -1) for one, other in pairs]
            else:
                inputs = [state.hidden for state in chains[-1]]
        memory = [one.detach() if self.cut == "memory" else one * 1.0 for one in inputs]
        for one in memory:
            one.requires_grad_().retain_grad()
        ends = [alias(states[-1]) for states in chains]
        if self.cut == "ends":
            ends = [type(end)(*(part.detach().requires_grad_() for part in end)) for end in ends]
        first = ends
        if both:
            bridge, kind = iter(model.bridge), type(ends[0])
            first = [
                kind(*(next(bridge)(torch.cat(pair, -1)) for pair in zip(ends[n], ends[n + 1], strict=True)))
                for n in range(0, len(ends), 2)
            ]
        labels = [*sample.target_sequence.tolist(), 0]
        inputs = list(model.target_embedding(torch.tensor([0, *labels[:-1]]) + 1)[:, None])
        for layer in range(layers):
            chains.append(chain(next(cells), inputs, first[layer]))
            inputs = [state.hidden for state in chains[-1]]
        states = inputs if model.attention is None else attended(model, inputs, memory)
        outputs = model.readout(torch.cat(states))
        losses = nn.functional.cross_entropy(outputs, torch.tensor(labels), reduction="none")
        self.losses.append(losses)
        self.lasts.append(losses[-1])
        self.chains.append(chains)
        self.memory.append(memory)
        self.ends.append(ends)


def adjoint(part: Tensor) -> Tensor:
    return torch.zeros_like(part[0]) if part.grad is None else part.grad[0]


def close(found: Tensor, wanted: Tensor) -> None:
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-15)


ENGINES = ("native", "torch", "reference")
CASES = [
    *((RNN, attention, False, "native") for attention in ("none", "location")),
    (LSTM, "location", False, "native"),
    *((GRU, attention, False, "native") for attention in ("dot", "additive")),
    *((LSTM, attention, True, "native") for attention in ATTENTIONS),
    (LSTM, "dot", True, "torch"),
    (LSTM, "location", True, "reference"),
    *((LSTM, "dot", False, engine) for engine in ("torch", "reference")),
    (GRU, "additive", True, "native"),
    (NaryTreeLSTM, "dot", True, "native"),
]
EVERY = [
    *((cell, attention, False, "native") for cell in (RNN, LSTM, GRU) for attention in ATTENTIONS),
    *((LSTM, attention, True, engine) for attention in ATTENTIONS for engine in ENGINES),
]
SLOW = [pytest.param(*case, marks=pytest.mark.slow) for case in EVERY if case not in CASES]
"""Each cell, each engine and each attention of them is among `CASES` too."""


@pytest.mark.parametrize(("cell", "attention", "both", "engine"), CASES + SLOW)
def test_adjoints_are_an_independent_loop_s(cell: Any, attention: str, both: bool, engine: str) -> None:
    """Of every state of several layers of encoder and decoder, of unequal lengths; and so are the parameters'
    gradients, the last token's own adjoints, and the distances."""
    model = made(cell, attention, engine, bidirectional=both)
    batch = ChainLayout().collate(samples())
    model.step.recorded = True
    loss = model.training_step(batch, 0)
    ends = terminal_adjoints(model)
    loss.backward()
    gradients = {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
    layers = observation_of(model).layers
    terminal = [state for states in ends.values() for state in states]
    model.zero_grad()
    loop = Loop(model, samples())
    loop.last.backward(retain_graph=True)
    for number in range(len(layers)):
        for sample in range(len(READ)):
            for at, state in enumerate(loop.chains[sample][number]):
                for found, part in zip(terminal[number], state, strict=True):
                    close(found[sample, at], adjoint(part))
    loop.forget()
    loop.loss.backward()
    assert loss.item() == pytest.approx(loop.loss.item(), rel=1e-12)
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(gradients[name], parameter.grad, rtol=1e-11, atol=1e-14)
    encoder = 2 * (2 if both else 1)
    for number, layer in enumerate(layers):
        above = 1 - (number // 2 if both and number < encoder else (number - encoder) % 2)
        for sample, (read, written) in enumerate(zip(READ, WRITTEN, strict=True)):
            states = loop.chains[sample][number]
            assert len(states) == (read if number < encoder else written + 1)
            for at, state in enumerate(states):
                further = written + 1 if number < encoder else 0
                assert layer.distance[sample, at] == len(states) - 1 - at + above + further
                parts = (layer.adjoints, layer.direct, layer.recurrent)
                for whole, direct, recurrent, part in zip(*parts, state, strict=True):
                    close(whole[sample, at], adjoint(part))
                    close(direct[sample, at] + recurrent[sample, at], adjoint(part))


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("attention", ATTENTIONS)
def test_the_direct_part_is_what_comes_through_attention(attention: str, both: bool) -> None:
    """In the encoder's top layer; at its last position also what comes through the decoder's first state. Without
    attention nothing else is direct."""
    model = made(RNN, attention, bidirectional=both)
    model.step.recorded = True
    model.training_step(ChainLayout().collate(samples()), 0).backward()
    model.zero_grad()
    loop = Loop(model, samples())
    loop.loss.backward()
    top = observation_of(model).layers[: 4 if both else 2][-2 if both else -1 :]
    size = model.cells[0].hidden_size
    for sample, length in enumerate(READ):
        for direction, layer in enumerate(top):
            for at in range(length):
                place = length - 1 - at if direction else at
                wanted = adjoint(loop.memory[sample][place]).split(size)[direction].clone()
                assert bool((wanted != 0).any()) == (attention != "none")
                if at == length - 1:
                    wanted += adjoint(loop.ends[sample][-len(top) + direction].hidden)
                close(layer.direct.hidden[sample, at], wanted)


@pytest.mark.parametrize(
    ("attention", "cell", "both", "engine"),
    [  # each attention of both models by the native engine, of the larger one by another too; the others are slow
        pytest.param(
            attention, cell, both, engine, marks=[] if number in (0, (1 + at % 2) * both) else [pytest.mark.slow]
        )
        for at, attention in enumerate(ATTENTIONS)
        for cell, both in ((RNN, False), (LSTM, True))
        for number, engine in enumerate(ENGINES)
    ],
)
def test_ways_through_attention_and_through_the_state_add_up(
    attention: str, cell: Any, both: bool, engine: str
) -> None:
    """Against a loop in which the one way, or the other, is cut; and nothing is left behind in the records."""
    model = made(cell, attention, engine, bidirectional=both)
    batch = ChainLayout().collate(samples())
    unrolled = model.fold(batch, record=True)
    loss = nn.functional.cross_entropy(*model.architecture.labelled(model, batch, unrolled))
    found = unrolled.through_attention(loss)
    loss.backward()
    parts = []
    for cut in ("ends", "memory"):
        model.zero_grad()
        loop = Loop(model, samples(), cut)
        loop.loss.backward()
        parts.append(loop.chains)
    attended, stated = parts
    for number, state in enumerate(found):
        layer = unrolled.layers[number]
        for sample, length in enumerate(READ):
            for at in range(length):
                for part in range(len(state)):
                    through = adjoint(attended[sample][number][at][part])
                    close(state[part][sample, at], through)
                    close(layer.adjoints[part][sample, at], through + adjoint(stated[sample][number][at][part]))
                    assert bool((through != 0).any()) <= (attention != "none")


def test_without_attention_an_encoder_and_a_decoder_are_one_chain() -> None:
    """A layer's rows of both have each distance once, and the norms of all layers together are had as those of any
    chain."""
    model = made(attention="none")
    model.step.recorded = True
    model.training_step(ChainLayout().collate(samples()), 0).backward()
    probe = Adjoint()
    probe.observe(observation_of(model))
    table = probe.table()
    first = table[table["layer"] == 0]
    for sample, (read, written) in enumerate(zip(READ, WRITTEN, strict=True)):
        rows = first[first["sample"] == sample]
        assert sorted(rows["distance"].tolist()) == list(range(1, read + written + 2))
        inputs, target = samples()[sample].inputs.tolist(), samples()[sample].target_sequence.tolist()
        for part, tokens in ((0, inputs), (1, [1, *(one + 1 for one in target)])):
            own = rows[rows["part"] == part]
            assert own["token"][np.argsort(-own["distance"].astype(int))].tolist() == tokens
    curve = curves.curve(table)
    assert curve.distance.tolist() == list(range(len(curve.distance)))


@pytest.mark.parametrize("both", [False, True])
def test_of_one_part_distance_counts_to_its_own_end(both: bool) -> None:
    model = made(bidirectional=both)
    model.step.recorded = True
    model.training_step(ChainLayout().collate(samples()), 0).backward()
    probe = Adjoint()
    probe.observe(observation_of(model))
    table = probe.table()
    assert np.array_equal(curves.of_part(table, None), table)
    for part, least, lengths in (("encoder", 0, READ), ("decoder", 1, [1 + written for written in WRITTEN])):
        rows, whole = curves.of_part(table, part), table[table["part"] == curves.NETWORKS.index(part)]
        assert np.array_equal(rows["hidden"], whole["hidden"])
        least = int(whole["distance"][whole["layer"] == 1].min()) if part == "decoder" else 0
        for sample, length in enumerate(lengths):
            top = rows[(rows["layer"] == 1) & (rows["sample"] == sample) & (rows["direction"] == 0 if both else True)]
            assert sorted(top["distance"].tolist()) == list(range(least, least + length))
        seen = curves.curve(rows, layer=1)
        assert seen.terminal == (part == "decoder" and any(name.endswith("_terminal") for name in table.dtype.names))
    with pytest.raises(ValueError, match="part: given encoder, but this adjoint table has no encoder and decoder"):
        curves.of_part(table[[name for name in table.dtype.names if name != "part"]], "encoder")


@pytest.mark.parametrize("attention", ["dot", "additive", "location"])
def test_attention_whose_context_has_no_weight_is_none(attention: str) -> None:
    model, plain = made(attention=attention), made(attention="none")
    with torch.no_grad():
        assert model.attention is not None
        model.attention.of_context.weight.zero_()
    plain.load_state_dict(
        {name: value for name, value in model.state_dict().items() if not name.startswith("attention")}
    )
    batch = ChainLayout().collate(samples())
    assert torch.equal(model.training_step(batch, 0), plain.training_step(batch, 0))


@pytest.mark.parametrize("clipped", [False, True])
def test_a_run_keeps_what_came_through_attention(clipped: bool, tmp_path: Path) -> None:
    """Of the encoder's rows, no larger than the two ways together allow; the curve is of the same states as without."""
    more: dict[str, Any] = {"clipping": AdjointNorm(1e9)} if clipped else {}
    run(Given(TASK, samples()), made(LSTM, "additive", **more).float(), tmp_path, {"adjoint": Adjoint()}, max_steps=1)
    table = runs.read_table(tmp_path, "adjoint")
    assert table is not None
    assert curves.columns.states(table) == ("hidden", "cell")
    for name in ("hidden", "cell"):
        of_encoder = table["part"] == 0
        assert np.isnan(table[f"{name}_attention"][~of_encoder]).all()
        assert (table[f"{name}_attention"][of_encoder] > 0).all()
    ends = (table["part"] == 0) & (table["layer"] == 1)
    assert np.isfinite(table["hidden_attention"][ends]).all()
    model = made(LSTM, "additive").float()
    model.step.recorded = True
    batch = ChainLayout().collate(samples())
    model.training_step(batch, 0)
    wanted = attended_adjoints(model)[1].hidden
    own = Loop(model.double(), samples(), "ends")
    (own.loss * len(torch.cat(own.losses))).backward()
    found = torch.cat([adjoint(state.hidden) for states in own.chains for state in states[1]])
    torch.testing.assert_close(wanted[batch.structure.mask].double().flatten(), found, rtol=1e-3, atol=1e-6)
    whole = Loop(model, samples())
    (whole.loss * len(torch.cat(whole.losses))).backward()
    norms = sorted(float(adjoint(state.hidden).norm()) for states in whole.chains for one in states for state in one)
    first = np.sort(table["hidden"][table["step"] == 0])  # of the same weights: each sample's own loss
    np.testing.assert_allclose(first, norms, rtol=1e-3, atol=1e-6)
    assert curves.curve(table).distance.tolist() == list(range(len(curves.curve(table).distance)))


def test_what_is_saturated_is_said_of_each_part(tmp_path: Path) -> None:
    run(Given(TASK, samples()), made().float(), tmp_path, {"saturation": Saturation()}, max_steps=1)
    table = runs.read_table(tmp_path, "saturation")
    assert table is not None
    found = optional_tables.saturation(table)
    for part in ("encoder", "decoder"):
        assert {f"i, {part} layer 0", f"i, {part} layer 1"} <= set(found)
    assert not any(name.startswith("part") for name in found)


def test_both_directions_of_an_encoder_are_probed(tmp_path: Path) -> None:
    data = Given(TASK, samples())
    run(data, made(bidirectional=True).float(), tmp_path, {"adjoint": Adjoint()}, max_steps=1)
    table = runs.read_table(tmp_path, "adjoint")
    assert table is not None
    places = set(zip(*(table[name].tolist() for name in ("part", "layer", "direction")), strict=True))
    assert places == {(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 1, 1), (1, 0, 0), (1, 1, 0)}
    assert len(curves.curve(table).distance)


# What is measured.


def test_accuracies_are_of_tokens_and_of_whole_sequences() -> None:
    model, batch = made(), ChainLayout().collate(samples())
    loop = Loop(model, samples())
    with torch.no_grad():
        outputs, targets = model.architecture.labelled(model, batch, model.fold(batch))
        model.readout.bias[0] += 100.0  # whatever is read, the end is written
        model.test_step(batch, 0)
    close(nn.functional.cross_entropy(outputs, targets, reduction="none"), torch.cat(loop.losses).detach())
    found = model.measured("test")
    assert set(found) == {"loss", "perplexity", "accuracy", "token_accuracy"}
    assert found["accuracy"] == pytest.approx(1 / 4)  # the one of which nothing is to be written
    assert found["token_accuracy"] == pytest.approx(4 / 16)
    assert found["perplexity"] == pytest.approx(np.exp(found["loss"]))
    assert model.answered[0]["correct"].tolist() == [False, False, True, False]


def test_an_answer_does_not_depend_on_the_batch_or_its_padding() -> None:
    for attention in ATTENTIONS:
        model, given = made(attention=attention, bidirectional=True), samples()
        with torch.no_grad():
            whole = model(ChainLayout().collate(given))
            alone = torch.cat([model(ChainLayout().collate([one])) for one in given])
        close(whole, alone)


# Other structures.


@pytest.mark.parametrize("layout", [ParseTreeLayout(), BalancedTreeLayout()])
@pytest.mark.parametrize("attention", ["none", "dot", "additive"])
def test_a_tree_may_be_read(layout: Any, attention: str) -> None:
    """Each sample's answers and adjoints are those that it has alone."""
    trees, random = sentences(4), np.random.default_rng(0)
    given = [
        Sample(
            one.inputs, 0, None, one.tree, one.tree_inputs, target_sequence=random.integers(1, 5, random.integers(1, 5))
        )
        for one in trees
    ]
    task = Task("sequence", input_size=7, output_size=5, tokens=True, max_children=3)
    architecture = partial(EncoderDecoder, attention=attention)
    model = model_of(Given(task, given, layout), ChildSumTreeLSTM, num_layers=2, architecture=architecture).double()

    def norms(some: list[Sample]) -> tuple[Tensor, list[Tensor]]:
        model.step.recorded = True
        loss = model.training_step(layout.collate(some), 0)
        (loss * model.step.labels).backward()
        rows = [layer.adjoints.hidden.square().sum().sqrt() for layer in observation_of(model).layers]
        return (loss * model.step.labels).detach(), rows

    total, together = norms(given)
    apart = [norms([one]) for one in given]
    close(total, torch.stack([loss for loss, _ in apart]).sum())
    for number, whole in enumerate(together):
        close(whole, torch.stack([rows[number] for _, rows in apart]).square().sum().sqrt())


# What acts.


@pytest.mark.parametrize(
    "acting",
    [
        {"clipping": AdjointNorm(1e-3)},
        {"clipping": HDetach(0.5)},
        {"clipping": TBPTT(2, 3)},
        {"regularizers": {"omega": Omega(0.5)}},
        {"tie_weights": True, "embedding_size": 4},
        {"match_parameters": 900},
        {"dropout": 0.2, "input_dropout": 0.2, "output_dropout": 0.2},
    ],
    ids=lambda acting: next(iter(acting)),
)
def test_what_acts_on_training_acts_in_both(acting: dict[str, Any], tmp_path: Path) -> None:
    model = made(**acting).float()
    before = {name: value.clone() for name, value in model.named_parameters()}
    record = run(Given(TASK, samples()), model, tmp_path, {"adjoint": Adjoint()}, max_steps=2)
    assert record.status == "done"
    assert all((value != before[name]).any() for name, value in model.named_parameters())


def test_truncation_cuts_each_part_into_windows_of_its_own() -> None:
    """Of the decoder's later windows nothing reaches the encoder; of the first one no more than a window's steps."""
    model = made(RNN, "none", layers=1, clipping=TBPTT(2, 2))
    batch = ChainLayout().collate(samples())
    unrolled = model.fold(batch, record=True, acting=True)
    losses = nn.functional.cross_entropy(*model.architecture.labelled(model, batch, unrolled), reduction="none")
    encoder, early, late = unrolled.layers[0], losses[0], losses[2]  # of sample 0, which has 3 steps
    assert bool((encoder.adjoints_of(late).hidden == 0).all())
    reached = (encoder.adjoints_of(early).hidden[0] != 0).any(-1).tolist()
    assert reached == [False, False, False, False, True, False, False]  # its last window has one step


# Refusals.


@pytest.mark.parametrize(
    ("task", "arguments", "told"),
    [
        (
            TASK,
            {"architecture": Label},
            "architecture=label: these data ask for a sequence; use architecture=encoder_dec",
        ),
        (TASK, {"pooling": "mean"}, "^pooling: given mean, but each step of a decoder"),
        (TASK, {"loss": "terminal"}, "ask for a sequence"),
        (
            TASK,
            {"architecture": partial(EncoderDecoder, attention="soft")},
            "^attention: given 'soft', expected",
        ),
        (Task("classification", 7, 5, tokens=True), {"architecture": EncoderDecoder}, "these data ask for a label"),
    ],
)
def test_what_has_no_meaning_is_refused(task: Task, arguments: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        model_of(Given(task, samples()), **arguments)


def test_attention_by_location_refuses_trees() -> None:
    with pytest.raises(ValueError, match="attention: given location, which reads the order of positions"):
        made(attention="location").attach(True)
    made(attention="location").attach(False)


def test_two_directions_of_an_encoder_refuse_windows() -> None:
    model = made(bidirectional=True, clipping=TBPTT(2, 2))
    with pytest.raises(ValueError, match="clipping=tbptt: cuts a sequence into windows"):
        model.attach()
