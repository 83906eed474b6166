"""Subwords: pieces of words, learnt from the training part, by sentencepiece."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable
from typing import Any, Self

from rnn_research.datasets.text.segments import Segmenter

SPACE = "\u2581"
"""Stands where a word begins, as sentencepiece writes it."""
INSTALL = 'tokens: given subwords, but sentencepiece is not installed; run pip install "rnn_research[translation]"'
USUAL_SIZE = 8000
LEARNT_FROM = 1_000_000
"""Texts; of more, so many are drawn."""


def _sentencepiece() -> Any:
    try:
        import sentencepiece  # type: ignore[import-not-found]
    except ImportError:
        raise ValueError(INSTALL) from None
    return sentencepiece


class Subwords(Segmenter):
    """Byte-pair encoding (Sennrich et al. 2016, arXiv:1508.07909) of text with its spaces, as sentencepiece makes it
    (Kudo and Richardson 2018, arXiv:1808.06226). White space is one space; nothing else of a text is changed.

    Args:
        model: sentencepiece's own, in base64.
        lower: in lower case.

    Raises:
        ValueError: sentencepiece is not installed, or the model is none of its.
    """

    name = "subwords"

    def __init__(self, model: str, lower: bool = False) -> None:
        super().__init__(lower)
        self.model = model
        try:
            self._pieces = _sentencepiece().SentencePieceProcessor(model_proto=base64.b64decode(model, validate=True))
        except (RuntimeError, TypeError, ValueError) as error:
            if str(error) == INSTALL:
                raise
            raise ValueError(f"encoder: given subwords that are damaged ({error})") from None

    @classmethod
    def learnt(cls, texts: Iterable[str], size: int, lower: bool = False) -> Self:
        """The subwords of texts: at most `size`. The same for the same texts in the same order.

        Raises:
            ValueError: as the class; or there are too few texts to learn from.
        """
        written = io.BytesIO()
        try:
            _sentencepiece().SentencePieceTrainer.train(
                sentence_iterator=iter([text.lower() if lower else text for text in texts]),
                model_writer=written,
                model_type="bpe",
                vocab_size=size,
                hard_vocab_limit=False,
                character_coverage=1.0,
                normalization_rule_name="identity",
                input_sentence_size=LEARNT_FROM,
                num_threads=1,
                unk_id=0,
                bos_id=-1,
                eos_id=-1,
                minloglevel=3,
            )
        except (RuntimeError, OSError) as error:
            reason = " ".join(str(error).split())[-160:]
            raise ValueError(f"vocabulary_size: given {size} subwords, which can't be learnt ({reason})") from None
        return cls(base64.b64encode(written.getvalue()).decode("ascii"), lower)

    def tokens_of(self, text: str) -> list[str]:
        found: list[str] = self._pieces.encode(text, out_type=str)
        return found

    def join(self, tokens: Iterable[str]) -> str:
        return "".join(tokens).replace(SPACE, " ").strip()
