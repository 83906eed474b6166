"""An encoder that reads, and a decoder that writes a sequence of a length of its own, with attention between them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from rnn_research.cells.base import Cell, State
from rnn_research.checks import choice, integer
from rnn_research.models.architectures.attention import ATTENTIONS, attention_of, by_sample
from rnn_research.models.architectures.base import Architecture, Blueprint, Unroll
from rnn_research.models.architectures.next_token import TiedReadout
from rnn_research.models.architectures.scheduled_sampling import ScheduledSampling
from rnn_research.models.bidirectional import fold_both
from rnn_research.structures import Batch, Chain, Forest
from rnn_research.structures.layouts import NO_TARGET
from rnn_research.unroll import Unrolled
from rnn_research.unroll import unroll as unroll_cells

ENCODER, DECODER = 0, 1
"""The `part` of each, see `Step`."""


@dataclass(frozen=True, eq=False)
class EncodedDecoded(Unrolled):
    """`layers` are the encoder's, from the bottom up, then the decoder's; what else there is, is the decoder's."""

    encoder: Unrolled
    memory: Tensor
    """h of the encoder's top layer at every position, of two directions both side by side, as attention reads it: a
    tensor of its own in the graph, so that what comes through attention is what reaches it."""

    def through_attention(self, loss: Tensor) -> list[State]:
        """Of each layer of the encoder the part of d loss/ds that left the encoder through attention, at that position
        or at a later one. The rest left it through the decoder's first state.

        Call it before `backward`, as `LayerStates.adjoints_of`, for a scalar of the graph of this fold.

        Raises:
            RuntimeError: as `LayerStates.adjoints_of`.
        """
        (reached,) = torch.autograd.grad(loss, self.memory, retain_graph=True, allow_unused=True)
        given = torch.zeros_like(self.memory) if reached is None else reached
        passed = (self.encoder.hidden * given).sum()
        return [layer.adjoints_of(passed) for layer in self.encoder.layers]


class EncoderDecoder(Architecture):
    """An encoder's cells along the structure, then a decoder's along the target: Sutskever et al. 2014
    (arXiv:1409.3215).

    Both have `num_layers` layers of the same kind of cell. Layer l of the decoder begins in the state in which layer l
    of the encoder ends (of a tree, that of its root). An encoder may read in both directions; then each part of the
    first state is W_b [forward end; backward end] + b_b, with weights of its own. At step s the decoder reads the token
    before (the first is the end's own), and o_s = W_o h~_s + b_o, with h~ as in `attention.SourceAttention`, or the
    decoder's own h without attention. Class k stands for token k + 1 of what the decoder reads.

    In training the decoder reads the target itself (teacher forcing) and is one unroll, as the encoder is. Attention
    comes after it: its context is read by the readout, not by the decoder's next step (no input feeding). So the same
    engines compute both, and nothing is done step by step.

    The loss is the mean over all tokens that are written, the end among them; `answers` is what stands last.

    `distance` is the number of cell applications on the way through states to the last loss: of a decoder's state those
    to its own end; of an encoder's those to its end and, from there, each step of the decoder. With layer l of both as
    one chain these are the distances of a chain, plus one a layer above. All such ways are as long. The adjoint of the
    last token's loss alone (`_terminal`) has this one distance; the others have the sum over all steps. With attention
    there is a second, shorter way, from each state of the encoder's top layer straight to every loss, without any cell
    application (from layer l: one a layer above it).

    Of an encoder's adjoint `direct` is what comes into that position itself: in the top layer through attention, and at
    the last position, in every layer, through the decoder's first state as well. `recurrent` is what comes from later
    states. They add up to the whole. `EncodedDecoded.through_attention` follows all ways that leave the encoder through
    attention, wherever they do. A strategy that acts inside backpropagation acts in both parts; what passes from
    the decoder's first step into the encoder's end is no recurrence to it. Truncation in time cuts each part into
    windows of its own.

    Args:
        blueprint: what it is made of; `embedding_size` is of both vocabularies.
        attention: one of `ATTENTIONS`.
        scheduled_sampling, scheduled_sampling_rise: see `ScheduledSampling`; in training the decoder then reads what
            it wrote itself at some steps. The losses are still those of the target's tokens.

    Raises:
        ValueError: the data ask for no sequence; an argument is out of range, or has no meaning here.
    """

    kinds = ("sequence",)
    learns_positions = True
    every_step = True
    ties = True
    folds_both = True

    def __init__(
        self,
        blueprint: Blueprint,
        attention: str = "dot",
        scheduled_sampling: float = 0.0,
        scheduled_sampling_rise: int = 0,
    ) -> None:
        super().__init__(blueprint)
        self.attention = choice("attention", attention, ATTENTIONS)
        self.sampling = ScheduledSampling(scheduled_sampling, scheduled_sampling_rise)
        integer("embedding_size", blueprint.embedding_size)
        if blueprint.pooling != "last":
            raise ValueError(
                f"pooling: given {blueprint.pooling}, but each step of a decoder is read from its own state; leave it "
                "out"
            )

    def check_acting(self, trees: bool | None, truncating: str | None) -> None:
        super().check_acting(trees, truncating)
        if trees and self.attention == "location":
            raise ValueError(
                "attention: given location, which reads the order of positions, but a tree's nodes have none; use dot "
                "or additive, or structure=chain"
            )

    @property
    def encoder_cells(self) -> int:
        """How many of `cells` are the encoder's; the others are the decoder's."""
        return self.blueprint.num_layers * self.blueprint.directions

    def modules(self) -> dict[str, nn.Module | None]:
        made, modules = self.blueprint, super().modules()
        cells, size = modules["cells"], made.embedding_size
        assert isinstance(cells, nn.ModuleList)
        memory, query = made.width(cells), int(cells[-1].hidden_size)  # type: ignore[arg-type]
        parts = len(cells[-1].state_names)  # type: ignore[arg-type]
        cells.extend(replace(made, bidirectional=False, max_children=1).layers(size))
        modules["target_embedding"] = target = nn.Embedding(made.task.output_size + 1, size, padding_idx=0)
        with torch.no_grad():
            target.weight.mul_(0.1)  # as `Blueprint.embedding`
        bridges = [nn.Linear(memory, query) for _ in range(made.num_layers * parts)] if made.bidirectional else []
        modules["bridge"] = nn.ModuleList(bridges) if bridges else None
        modules["attention"] = attention_of(self.attention, query, memory)
        modules["readout"] = TiedReadout(target, query) if made.tie_weights else nn.Linear(query, made.task.output_size)
        return modules

    def fold(self, net: Any, batch: Batch, unroll: Unroll) -> EncodedDecoded:
        chain, cells = batch.target_chain, list(net.cells)[self.encoder_cells :]
        encoder = self.encode(net, batch, unroll, chain.lengths)
        initial, memory = self.first_states(net, batch.structure, encoder), encoder.hidden.view_as(encoder.hidden)
        read = self.read(net, batch, cells, initial, memory)
        inputs, how = self.decoder_inputs(net, read), {"initial": initial, "between": net.between}
        decoder = unroll(cells, chain, inputs, name="decoder", part=DECODER, read=read, **how)
        return EncodedDecoded((*encoder.layers, *decoder.layers), encoder, memory)

    def read(self, net: Any, batch: Batch, cells: list[Cell], initial: list[State], memory: Tensor) -> Tensor:
        """The tokens that the decoder reads: the target's, and in training maybe some of its own."""
        tokens = batch.target_inputs
        if not (net.training and self.sampling.rate):
            return tokens

        def outputs(at: Tensor) -> Tensor:
            inputs, how = self.decoder_inputs(net, tokens), {"between": net.between, "engine": net.engine}
            states = unroll_cells(cells, batch.target_chain, inputs, initial=initial, **how).hidden
            return self.outputs(net, self.attended(net, batch, memory, states)[at])

        with torch.no_grad():
            return self.sampling.mixed(tokens, net.global_step, outputs)

    def encode(self, net: Any, batch: Batch, unroll: Unroll, steps: Tensor) -> Unrolled:
        """Unroll the encoder.

        Args:
            steps: of the decoder, by sample.
        """
        structure, cells, inputs = batch.structure, list(net.cells)[: self.encoder_cells], self.inputs(net, batch)

        def of_encoder(*unrolled: Any, name: str = "", above: int = 0, **how: Any) -> Unrolled:
            further = above + steps[structure.sample]
            name = f"encoder_{name}" if name else "encoder"
            return unroll(*unrolled, name=name, above=further, part=ENCODER, read=batch.inputs, **how)

        if self.blueprint.bidirectional:
            return fold_both(cells, structure, inputs, of_encoder, net.between)
        return of_encoder(cells, structure, inputs, between=net.between)

    def first_states(self, net: Any, structure: Chain | Forest, encoder: Unrolled) -> list[State]:
        """The state of each layer before the decoder's first step."""
        ends = [[structure.terminal(part) for part in layer.states] for layer in encoder.layers]
        kinds = [layer.cell.state_type for layer in encoder.layers][:: self.blueprint.directions]
        if self.blueprint.bidirectional:
            bridges = iter(net.bridge)
            pairs = zip(ends[::2], ends[1::2], strict=True)
            ends = [[next(bridges)(torch.cat(both, -1)) for both in zip(*pair, strict=True)] for pair in pairs]
        return [kind(*parts) for kind, parts in zip(kinds, ends, strict=True)]

    def decoder_inputs(self, net: Any, tokens: Tensor) -> Tensor:
        """What the decoder's lowest layer reads of tokens."""
        read = net.target_embedding(tokens)
        return read if net.before is None else net.before(read)

    def attended(self, net: Any, batch: Batch, memory: Tensor, states: Tensor) -> Tensor:
        """What is read out of a decoder's states at all of its steps, (batch, steps, hidden): themselves, or h~ with
        attention."""
        if net.attention is None:
            return states
        return net.attention(states, *by_sample(batch.structure, memory))

    def answers(self, net: Any, batch: Batch, unrolled: Unrolled) -> Float[Tensor, "batch output"]:
        assert isinstance(unrolled, EncodedDecoded)
        states = self.attended(net, batch, unrolled.memory, unrolled.hidden)
        return self.outputs(net, batch.target_chain.terminal(states))

    def labelled(self, net: Any, batch: Batch, unrolled: Unrolled) -> tuple[Tensor, Tensor]:
        assert isinstance(unrolled, EncodedDecoded)
        targets = batch.target_sequence
        assert targets is not None
        written = targets != NO_TARGET
        states = self.attended(net, batch, unrolled.memory, unrolled.hidden)
        return self.outputs(net, states[written]), targets[written]
