"""A training step of an encoder and a decoder, with every adjoint, beside the same model on torch's LSTM."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from benchmarks.chains import torch_net
from benchmarks.runs import composed
from benchmarks.timing import Case, Measured, Registry, clear, ratio, same
from rnn_research.models.architectures.attention import ATTENTIONS
from rnn_research.structures import Batch
from rnn_research.unroll import LayerStates

BATCH, STEPS, FEATURES, HIDDEN, SYMBOLS = 64, 30, 128, 256, 1000


class OnTorch:
    """The step of `torch.nn.LSTM`, with the weights, the attention and the readout of a model of ours."""

    def __init__(self, model: Any, batch: Batch) -> None:
        self.model, self.batch = model, batch
        self.encoder, self.decoder = (torch_net([cell], nn.LSTM) for cell in model.cells)
        self.parameters = [
            *self.encoder.parameters(),
            *self.decoder.parameters(),
            *(value for name, value in model.named_parameters() if not name.startswith("cells")),
        ]

    def step(self) -> Tensor:
        """Forward and backward. Returns the loss."""
        clear(self.parameters)
        net, batch = self.model, self.batch
        memory, last = self.encoder(net.embedding(batch.inputs).transpose(0, 1))
        states = self.decoder(net.target_embedding(batch.target_inputs).transpose(0, 1), last)[0].transpose(0, 1)
        memory = memory.transpose(0, 1)
        read = states if net.attention is None else net.attention(states, memory, batch.structure.mask)
        assert batch.target_sequence is not None
        loss = nn.functional.cross_entropy(net.readout(read).flatten(0, 1), batch.target_sequence.flatten())
        loss.backward()
        return loss


def training_step(attention: str, rounds: int) -> Measured:
    """Ours, with the adjoints of both parts read after it, against torch's without."""
    from rnn_research.config.build import build

    typed = [
        "dataset=reverse_tokens",
        f"dataset.length={STEPS}",
        f"dataset.symbols={SYMBOLS}",
        f"dataset.batch_size={BATCH}",
        "model=lstm",
        f"model.cell.hidden_size={HIDDEN}",
        f"model.embedding_size={FEATURES}",
        "architecture=encoder_decoder",
        f"architecture.attention={attention}",
    ]
    parts = build(composed(typed))
    model, batch = parts.model, next(iter(parts.data.train_dataloader()))
    peer = OnTorch(model, batch)

    def layers() -> tuple[LayerStates, ...]:
        assert model.step.folded is not None
        return model.step.folded.layers

    def ours() -> Tensor:
        clear(model.parameters())
        model.step.recorded = True
        loss = model.training_step(batch, 0)
        loss.backward()
        for layer in layers():
            _ = layer.adjoints
        return loss

    same("loss", ours(), peer.step(), 1e-5)
    used = {str(layer.engine.used) for layer in layers()}
    return ratio(ours, peer.step, rounds, "the same on torch.nn.LSTM", note=f"engine={', '.join(sorted(used))}")


REGISTRY: Registry = {
    "encoder_decoder": {attention: Case(partial(training_step, attention), "<= 1.0") for attention in ATTENTIONS}
}
