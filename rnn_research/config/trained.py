"""A trained model in any process, from a run's folder alone: what it says of new data."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from omegaconf import OmegaConf
from torch import nn

from rnn_research.cells.base import Cell
from rnn_research.checks import choice, integer
from rnn_research.clipping.none import NoClipping
from rnn_research.config.instantiate import instantiate_node, usage_error_at
from rnn_research.config.targets import check_targets, resolved
from rnn_research.datasets.base import Task
from rnn_research.datasets.encoder import Encoder, Item, encoder_of
from rnn_research.datasets.text.stream import StreamEncoder
from rnn_research.errors import UsageError
from rnn_research.models.architectures import Architecture
from rnn_research.models.model import Model
from rnn_research.models.streaming import TextLikelihood, TextReader, generated, likelihood
from rnn_research.records import checksum, encoding, runs
from rnn_research.records.version1 import renamed
from rnn_research.structures import Sample
from rnn_research.structures.layouts import (
    BalancedTreeLayout,
    ChainLayout,
    Layout,
    LeftBranchingLayout,
    ParseTreeLayout,
    RightBranchingLayout,
)
from rnn_research.unroll import Unrolled

KNOWN = (ChainLayout, BalancedTreeLayout, LeftBranchingLayout, RightBranchingLayout, ParseTreeLayout)
LAYOUTS: dict[str, type[Layout]] = {one.name: one for one in KNOWN}
"""By the name that a run keeps."""
WEIGHTS = ("measured", "best", "last")
TOGETHER = 64
"""Samples that are read at a time."""


@dataclass(frozen=True, eq=False)
class Prediction:
    """What a model says of one item.

    Attributes:
        where: the item's file and line.
        label: what its file says of it; None: nothing.
        answer: the likeliest class by its name (its number where classes have none); of a regression the numbers.
        probabilities: of the classes, in order, float64; None: of a regression.
        loss: the item's own, in nats (regression: the squared error); None where there is no label that is known.
    """

    where: str
    label: str | None
    answer: str | tuple[float, ...]
    probabilities: np.ndarray | None = None
    loss: float | None = None


class TrainedRun:
    """The model of a run, with what turns raw data into what it reads.

    Attributes:
        record: the run's.
        model: with the weights that were asked for, in evaluation mode.
        task: the sizes it was made for.
        encoder: of the run's data; None: they were generated, and there are no raw ones.
        layout: what samples are laid out as.
    """

    def __init__(self, record: runs.RunRecord, model: Model, encoder: Encoder | None, layout: Layout) -> None:
        self.record, self.model, self.encoder, self.layout = record, model, encoder, layout
        self.task = model.task
        self._exact = _exact(model)

    def needed_encoder(self) -> Encoder:
        """The encoder.

        Raises:
            UsageError: the run has none.
        """
        if self.encoder is None:
            name, data = self.record.name, self.record.data.get("name")
            raise UsageError(
                f"{name}: its data ({data}) were generated, and nothing reads files for it; give a run of data that "
                "were read"
            )
        return self.encoder

    def predict(self, raws: Iterable[Any], batch_size: int = TOGETHER) -> Iterator[Prediction]:
        """What the model says of raw samples (texts, trees, series, ... as the encoder takes them), or of `Item`s, one
        after another as they come. The same for any batch size.

        Raises:
            UsageError: the run has no encoder, or a sample can't be read: names it.
        """
        integer("batch_size", batch_size)
        items = (raw if isinstance(raw, Item) else Item(f"sample {n}", raw) for n, raw in enumerate(raws))
        while group := list(islice(items, batch_size)):
            yield from self._predictions(group)

    def text_likelihood(self, raw: str | bytes) -> TextLikelihood:
        """How likely a language model finds a text, read as one stream from a state of zero.

        Raises:
            UsageError: the run is of no language model.
        """
        return likelihood(self.model, self._stream().tokens_of(raw))

    def generate(
        self, prompt: str = "\n", length: int = 200, temperature: float = 1.0, top_k: int | None = None, seed: int = 0
    ) -> Iterator[str]:
        """Yield what a language model writes after a prompt, piece by piece; see `streaming.generated`.

        Args:
            length: of what is written, in tokens.

        Raises:
            UsageError: the run is of no language model, the prompt is empty, or an argument is out of range.
        """
        encoder = self._stream()
        read = encoder.tokens_of(prompt)
        if not len(read):
            raise UsageError("prompt: given no text, expected some to begin with")
        reader = TextReader(self.model, self._exact)
        with usage_error_at(""):
            tokens = generated(reader, read, encoder.with_text, length, temperature, top_k, seed)
            yield from encoder.decoded(tokens)

    def _stream(self) -> StreamEncoder:
        encoder = self.needed_encoder()
        if not isinstance(encoder, StreamEncoder):
            raise UsageError(f"{self.record.name}: is of no language model; give a run of dataset=text or =shakespeare")
        return encoder

    def _predictions(self, items: Sequence[Item]) -> Iterator[Prediction]:
        outputs = self.outputs([self._sample(item) for item in items])
        classes, objective = self.task.classes, self.model.objective
        for item, output in zip(items, outputs, strict=True):
            if self.task.kind == "regression":
                yield Prediction(item.where, item.label, tuple(output.tolist()))
                continue
            named = classes if classes is not None else tuple(map(str, range(len(output))))
            known = named.index(item.label) if item.label in named else None
            loss = None
            if known is not None:
                loss = float(objective.losses(output[None], torch.tensor([known]))[0])
            answer = named[int(output.argmax())]
            yield Prediction(item.where, item.label, answer, output.softmax(-1).numpy(), loss)

    def _sample(self, item: Item) -> Sample:
        try:
            return self.needed_encoder().encode(item.raw)
        except ValueError as error:
            raise UsageError(f"{item.where}: {error}") from None

    @torch.no_grad()
    def outputs(self, samples: Sequence[Sample]) -> torch.Tensor:
        """What the model gives for samples, (samples, output_size) float64.

        States are in the precision of the training, where a sample's are the same bits in any batch. They are read out
        in float64, where the rest of a batch changes less than what is shown.
        """
        batch = self.layout.collate(samples)
        unrolled = self.model.fold(batch)
        answers: torch.Tensor = self.model.architecture.answers(
            self._exact, batch, _InFloat64(unrolled.layers, unrolled)
        )
        return answers


@dataclass(frozen=True, eq=False)
class _InFloat64(Unrolled):
    """The hidden states of the top layer in float64, as a readout reads them."""

    of: Unrolled

    @property
    def hidden(self) -> torch.Tensor:
        return self.of.hidden.double()

    @property
    def mask(self) -> torch.Tensor:
        return self.of.mask

    @property
    def terminal(self) -> torch.Tensor | None:
        """Where two directions end; None: there is one."""
        ends: torch.Tensor | None = getattr(self.of, "terminal", None)
        return None if ends is None else ends.double()


def _exact(model: Model) -> SimpleNamespace:
    """The modules that read states out, in float64."""
    modules = model.architecture.modules()
    kept = {name: getattr(model, name) for name in modules}
    return SimpleNamespace(
        **{
            name: module if module is None or name in ("cells", "embedding") else copy.deepcopy(module).double()
            for name, module in kept.items()
        },
        training=False,
    )


def load(folder: str | Path, weights: str = "measured", trust: Sequence[str] = ()) -> TrainedRun:
    """The trained model of a run, with its encoder; nothing of its data is needed.

    Nothing in the folder is executed: weights are read as tensors, the rest as plain data, and classes are those of
    this project, or of what the caller trusts.

    Args:
        folder: the run's.
        weights: `measured`: those that the test set was measured with; `best` or `last`.
        trust: packages, beside this one, that a class of the run may come from.

    Raises:
        UsageError: there is no run, it has no such weights, one of its files is damaged, or it names what is not
            trusted.
    """
    folder = Path(folder)
    with usage_error_at(""):
        choice("weights", weights, WEIGHTS)
    try:
        record, kept = runs.read(folder), encoding.read(folder)
    except runs.DamagedRecord as error:
        raise UsageError(str(error)) from None
    with usage_error_at(str(folder)):
        task, layout = _task(kept["task"]), _layout(kept.get("structure"))
        encoder = None if kept.get("encoder") is None else encoder_of(kept["encoder"])
    model = _model(record, task, layout, trust)
    _fill(model, _weights(folder, record, weights), folder)
    model.eval()
    return TrainedRun(record, model, encoder, layout)


def _task(plain: Any) -> Task:
    try:
        return Task.of(plain)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"its task is damaged ({error})") from None


def _layout(name: Any) -> Layout:
    if name not in LAYOUTS:
        raise ValueError(f"its structure is {name!r}, expected one of {', '.join(LAYOUTS)}")
    return LAYOUTS[name]()


def _model(record: runs.RunRecord, task: Task, layout: Layout, trust: Sequence[str]) -> Model:
    """A model as the run made it, with weights of its own."""
    named = renamed({key: record.config.get(key) for key in ("model", "architecture")})
    cfg = resolved(OmegaConf.create({**named, "trust": list(trust)}))
    check_targets(cfg, ())
    sizes = record.actual.get("hidden_sizes")
    if sizes and OmegaConf.select(cfg, "model.cell") is not None:
        OmegaConf.update(cfg, "model.cell.hidden_size", int(sizes[0]), force_add=True)
        OmegaConf.update(cfg, "model.match_parameters", None, force_add=True)
    cell: partial[Cell] = instantiate_node(cfg.model.get("cell"), "model.cell", Cell)
    architecture = instantiate_node(cfg.get("architecture"), "architecture", Architecture)
    unmade: partial[Model] = instantiate_node(cfg.model, "model", Model, cell=cell)
    with usage_error_at("model"), torch.random.fork_rng(devices=[]):
        return unmade(
            task,
            optimizer=torch.optim.SGD,
            clipping=NoClipping(),
            architecture=architecture,
            max_children=layout.max_children(task.max_children),
            position_targets=layout.position_targets(task.step_targets, task.tree_targets),
        )


def _weights(folder: Path, record: runs.RunRecord, weights: str) -> Mapping[str, torch.Tensor]:
    name = {"last": runs.CHECKPOINT, "best": runs.BEST}.get(weights) or record.weights.get("measured", runs.CHECKPOINT)
    if name not in (runs.CHECKPOINT, runs.BEST):
        raise UsageError(
            f"{folder}: says that it was measured with {name!r}, expected {runs.CHECKPOINT} or {runs.BEST}"
        )
    path = folder / name
    if not path.is_file():
        raise UsageError(f"{path}: not there, expected the weights; give another folder, or other weights")
    try:
        checksum.check(path)
        held = torch.load(path, map_location="cpu", weights_only=True)
        return dict(held["state_dict"])
    except Exception as error:  # zip, pickle and torch each have their own
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: can't be read ({type(error).__name__}: {reason}); train it again") from None


def _fill(model: nn.Module, weights: Mapping[str, torch.Tensor], folder: Path) -> None:
    """Give the model the weights of its parameters; what strategies remembered is left out."""
    for name, parameter in model.named_parameters():
        held = weights.get(name)
        if not isinstance(held, torch.Tensor) or held.shape != parameter.shape:
            found = "none" if held is None else f"{tuple(getattr(held, 'shape', ()))}"
            raise UsageError(
                f"{folder}: {name} has the shape {found}, expected {tuple(parameter.shape)}; train it again"
            )
        with torch.no_grad():
            parameter.copy_(held)
