"""How good translations are: BLEU and chrF, as sacrebleu has them."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rnn_research.datasets.base import DataModule
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.models.model import Model
from rnn_research.models.translation import BEAM, PENALTY, Translator

log = logging.getLogger(__name__)

INSTALL = 'sacrebleu: not installed, expected for BLEU; run pip install "rnn_research[translation]"'


@dataclass(frozen=True)
class TranslationScores:
    """Of a set of translations, by `bleu` and `chrf`: the values, and sacrebleu's signatures, which say how they were
    counted."""

    values: dict[str, float]
    signatures: dict[str, str]


def sacrebleu_metrics() -> dict[str, Any]:
    """The metrics by name.

    Raises:
        ImportError: sacrebleu is not installed; says how to.
    """
    try:
        from sacrebleu.metrics import BLEU, CHRF  # type: ignore[import-not-found]
    except ImportError:
        raise ImportError(INSTALL) from None
    return {"bleu": BLEU(), "chrf": CHRF()}


def scores(written: Sequence[str], reference: Sequence[str]) -> TranslationScores:
    """BLEU (Papineni et al. 2002) and chrF2 (Popovic 2015) of translations against one reference each, from 0 to 100,
    as Post 2018 (arXiv:1804.08771) counts them.

    Raises:
        ImportError: sacrebleu is not installed.
        ValueError: there are not as many of both, or none.
    """
    metrics = sacrebleu_metrics()
    if len(written) != len(reference) or not written:
        raise ValueError(f"reference: has {len(reference)} lines, expected the {len(written)} that were translated")
    values = {name: float(one.corpus_score(list(written), [list(reference)]).score) for name, one in metrics.items()}
    return TranslationScores(values, {name: str(one.get_signature()) for name, one in metrics.items()})


def scores_of_set(model: Model, data: DataModule, name: str) -> TranslationScores | None:
    """The scores of what a model writes of a set's texts, as `rnn-translate` writes them, and BLEU of its shortest,
    middle and longest texts; None where the data have no texts, a weight is not finite, or sacrebleu is not
    installed."""
    texts, encoder = data.texts(name), data.encoder
    if texts is None or not isinstance(encoder, ParallelEncoder):
        return None
    if not all(bool(parameter.isfinite().all()) for parameter in model.parameters()):
        return None
    try:
        sacrebleu_metrics()
    except ImportError as error:
        log.info("%s", error)
        return None
    read, reference = [source for source, _ in texts], [target for _, target in texts]
    written = list(Translator(model, encoder, data.layout).translate(read))
    found = scores(written, reference)
    how = f"|beam:{BEAM}|length_penalty:{PENALTY:g}"
    values, signatures = found.values, {key: value + how for key, value in found.signatures.items()}
    for third, lengths, of_it in thirds([len(encoder.segmenter.split(text)) for text in read]):
        part = scores([written[one] for one in of_it], [reference[one] for one in of_it])
        values[f"bleu_{third}"], signatures[f"bleu_{third}"] = part.values["bleu"], f"of {lengths} tokens in the source"
    return TranslationScores(values, signatures)


def thirds(lengths: Sequence[int]) -> Iterator[tuple[str, str, list[int]]]:
    """Yield the shortest, the middle and the longest third of texts: its name, the lengths that it has and which texts
    they are. Texts of one length are in one third; where one would be without a text, there are none."""
    counts = np.asarray(lengths)
    first, second = (int(value) for value in np.quantile(counts, [1 / 3, 2 / 3], method="inverted_cdf"))
    least, most = int(counts.min()), int(counts.max())
    limits = {"short": (least, first), "middle": (first + 1, second), "long": (second + 1, most)}
    found = {name: np.flatnonzero((low <= counts) & (counts <= high)).tolist() for name, (low, high) in limits.items()}
    if all(found.values()):
        for name, (low, high) in limits.items():
            yield name, f"{low} to {high}" if low < high else f"{low}", found[name]
