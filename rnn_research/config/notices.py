"""What of the options asked for does nothing, or something else than it says: one line each, before training."""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch

from rnn_research.cells.base import Cell, Initialisation
from rnn_research.clipping.module_mapping import ModuleMapping
from rnn_research.datasets.base import DataModule
from rnn_research.models.architectures import EncoderDecoder
from rnn_research.models.model import Model, count_parameters
from rnn_research.probes.base import Probe

log = logging.getLogger(__name__)

FAR = 0.05
"""A parameter count that is off by more than this share is not the one asked for."""


def notices(
    cfg: Mapping[str, Any],
    data: DataModule,
    model: Model,
    probes: Mapping[str, Probe],
    initialise: Mapping[str, Initialisation],
) -> Iterator[str]:
    """The lines, for a config whose parts are made."""
    yield from _of_model(cfg["model"], data, model)
    yield from _of_training(cfg, model.regularizers, probes)
    yield from _of_data(data)
    yield from overwritten(model.cells[0], initialise)


@contextmanager
def kept_back() -> Iterator[None]:
    """Say what is noticed within when it ends well: beside a refusal, the one line is the refusal's."""
    kept: list[logging.LogRecord] = []

    def keep(record: logging.LogRecord) -> bool:
        kept.append(record)
        return False

    loggers = [logging.getLogger(f"rnn_research.config.{name}") for name in ("notices", "estimate")]
    for logger in loggers:
        logger.addFilter(keep)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeFilter(keep)
    for record in kept:
        logging.getLogger(record.name).handle(record)


def of_precision(asked: Any, made: str) -> str:
    """What to say where lightning took another precision than was asked for; empty where it did not."""
    if str(made) in (str(asked), f"{asked}-true", f"{asked}-mixed"):
        return ""
    return f"trainer.precision={asked}: on this device it is {made}, which the record gives as actual"


def _of_model(asked: Mapping[str, Any], data: DataModule, model: Model) -> Iterator[str]:
    if asked.get("dropout") and model.architecture.blueprint.num_layers == 1:
        yield f"model.dropout={asked['dropout']}: does nothing, since it acts between layers and num_layers=1"
    usual = inspect.signature(Model).parameters["embedding_size"].default
    if not data.task.tokens and data.task.kind != "sequence" and asked.get("embedding_size", usual) != usual:
        yield f"model.embedding_size={asked['embedding_size']}: does nothing, since the data are no tokens"
    frames = inspect.signature(Model).parameters["frame_features"].default
    if data.task.frame is None and asked.get("frame_features", frames) != frames:
        yield f"model.frame_features={asked['frame_features']}: does nothing, since the data are no images"
    if (vectors := data.task.vectors) is not None and asked.get("embedding_size", usual) not in (
        usual,
        vectors.shape[1],
    ):
        given = asked["embedding_size"]
        yield f"model.embedding_size={given}: does nothing, since the data's vectors have {vectors.shape[1]} numbers"
    if isinstance(model.architecture, EncoderDecoder) and (windows := model.clipping.truncate) is not None:
        way = "" if model.architecture.attention == "none" else " through states; through attention all do"
        yield (
            f"clipping=tbptt: cuts the encoder and the decoder each into windows of {windows[0]} steps, so that the "
            f"losses of the decoder's first {windows[1] // windows[0] * windows[0]} steps alone reach the encoder{way}"
        )
    if (wanted := asked.get("match_parameters")) is not None:
        count, size, given = count_parameters(model), model.cells[0].hidden_size, asked["cell"].get("hidden_size")
        if abs(count - wanted) > FAR * wanted:
            yield f"model.match_parameters={wanted}: not reached, the nearest is {count} with hidden_size={size}"
        if given != size:
            log.info("model.cell.hidden_size=%s: it is %s, by match_parameters=%s", given, size, wanted)


def _of_training(cfg: Mapping[str, Any], regularizers: ModuleMapping, probes: Mapping[str, Probe]) -> Iterator[str]:
    steps = cfg["trainer"].get("max_steps") or -1
    for name, probe in probes.items():
        every = getattr(probe, "every_n_steps", 1)
        if not (probe.first or probe.last) and (every == 0 or 0 < steps <= every):
            yield f"probe.{name}.every_n_steps={every}: measures nothing, since no such step comes"
    for name, one in regularizers.items():
        if one.weight == 0:
            yield f"regularizer={name}: its weight is 0, so that it is measured and changes nothing"
        elif getattr(one, "alpha", None) == 0:
            yield f"regularizer={name}: its alpha is 0, so that it is measured and changes nothing"
    for key, usual in (("stop_when_patience", 10), ("stop_when_min_delta", 0.0)):
        if cfg.get("stop_when") is None and cfg.get(key, usual) != usual:
            yield f"{key}={cfg[key]}: does nothing without stop_when=METRIC"
    optimizer = cfg["optimizer"]
    if optimizer.get("lr") == 0:
        yield "optimizer.lr=0: nothing is learnt"
    if 0 < steps <= (warmup := cfg["scheduler"].get("warmup_steps") or 0):
        yield f"scheduler.warmup_steps={warmup}: the run ends before the whole learning rate is reached"
    if 0 < steps <= (cfg["scheduler"].get("every_n_steps") or 0):
        every = cfg["scheduler"]["every_n_steps"]
        yield f"scheduler.every_n_steps={every}: does nothing, since the run ends before the rate is changed"
    if optimizer.get("dampening") and not optimizer.get("momentum"):
        yield f"optimizer.dampening={optimizer['dampening']}: does nothing without momentum"


def _of_data(data: DataModule) -> Iterator[str]:
    if data.bucket:
        samples = data.samples("train")
        if len({data.layout.size(samples[number]) for number in range(min(len(samples), 256))}) == 1:
            yield "dataset.bucket=true: saves nothing, since samples are of one size; it changes the order alone"
    usual = inspect.signature(type(data)).parameters
    seed = getattr(data, "permutation_seed", None)
    if getattr(data, "permute", True) is False and seed != getattr(usual.get("permutation_seed"), "default", seed):
        yield f"dataset.permutation_seed={seed}: does nothing without dataset.permute=true"


def overwritten(like: Cell, initialise: Mapping[str, Initialisation]) -> Iterator[str]:
    """Each initialisation without which the cell would be the same: those after it overwrite it, or it does nothing."""
    names = list(initialise)
    for place, name in enumerate(names):
        if len(names) > 1 or name != "default":
            later = names[place + 1 :]
            before = [initialise[one] for one in names[:place]]
            after = [initialise[one] for one in later]
            if _same(_initialised(like, before, initialise[name], after), _initialised(like, before, None, after)):
                why = f"{','.join(later)} after it sets the same anew; put it last" if later else "it changes no weight"
                yield f"init={name}: has no effect, {why}"


def _initialised(
    like: Cell, before: list[Initialisation], own: Initialisation | None, after: list[Initialisation]
) -> dict[str, torch.Tensor]:
    """The parameters of a copy, initialised so, where what comes `after` draws the same with and without `own`. It
    starts from any numbers: `like` has been initialised, and the same once more may change nothing."""
    cell = copy.deepcopy(like)
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(0)
        for parameter in cell.parameters():
            parameter.normal_()
        for initialisation in (*before, *([] if own is None else [own])):
            initialisation(cell)
        torch.manual_seed(1)
        for initialisation in after:
            initialisation(cell)
    return dict(cell.named_parameters())


def _same(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, other[name]) for name, value in one.items())
