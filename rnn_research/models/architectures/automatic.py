"""The architecture that follows from the task, and the one that `model.loss` asks for."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from rnn_research.checks import choice
from rnn_research.datasets.base import Task
from rnn_research.models.architectures.base import Architecture, Blueprint
from rnn_research.models.architectures.ctc import CTC
from rnn_research.models.architectures.encoder_decoder import EncoderDecoder
from rnn_research.models.architectures.label import Label
from rnn_research.models.architectures.next_token import NextToken
from rnn_research.models.architectures.position import Position

LOSSES = ("auto", "terminal", "every")


def automatic_architecture(blueprint: Blueprint) -> Architecture:
    """`architecture=auto`: what comes next, a sequence or a transcript, where the task asks for it; labels at positions
    where batches have such; one label a sample otherwise."""
    asked: dict[str, type[Architecture]] = {"sequence": EncoderDecoder, "next_token": NextToken, "transcript": CTC}
    usual = Position if blueprint.position_targets else Label
    return asked.get(blueprint.task.kind, usual)(blueprint)


def architecture_for_loss(
    loss: str, architecture: Callable[..., Architecture], task: Task, position_targets: bool
) -> Callable[..., Architecture]:
    """The architecture itself where `model.loss` is `auto`; else the one that `model.loss` asks for.

    Raises:
        ValueError: `loss` is unknown, has no meaning with these batches, or says again what the architecture says.
    """
    choice("loss", loss, LOSSES)
    made = architecture.func if isinstance(architecture, partial) else architecture
    if loss == "every" and not position_targets:
        raise ValueError(
            "loss: given every, but these batches label no positions; use model.loss=terminal, or data and a "
            "structure with labels at every node (dataset.labels=nodes structure=parse)"
        )
    asked = loss == "every" or (loss == "auto" and made is automatic_architecture)
    if asked and position_targets and task.kind == "regression":
        raise ValueError(
            f"loss: given {loss}, but these batches label positions with numbers, expected classes; use "
            "model.loss=terminal"
        )
    if loss == "auto":
        return architecture
    if made is not automatic_architecture:
        name = getattr(made, "__name__", str(made))
        raise ValueError(
            f"loss: given {loss} beside the architecture {name}, which says itself what the loss is of; leave one out"
        )
    every = NextToken if task.kind == "next_token" else Position
    return {"terminal": Label, "every": every}[loss]
