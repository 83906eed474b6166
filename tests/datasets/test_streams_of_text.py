"""A text as streams: what is read, how it is cut, and that nothing is lost, seen twice or told beforehand."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.datasets.text import corpus
from rnn_research.datasets.text.corpus import _FirstSeen, _word_numbers
from rnn_research.datasets.text.language import Text
from rnn_research.datasets.text.shakespeare import Shakespeare
from rnn_research.datasets.text.stream import StreamEncoder, clean, pieces
from rnn_research.datasets.text.windows import StreamBatches, Windows
from rnn_research.structures.layouts import NO_TARGET


def letters(count: int, seed: int = 0, alphabet: str = "abcdefg\n") -> str:
    return "".join(np.random.default_rng(seed).choice(list(alphabet), count))


def made(folder: Path, text: str | bytes, **options: Any) -> Text:
    path = folder / "text.txt"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return Text(str(path), **options)


@pytest.mark.parametrize("steps", [1, 7, 100, 101, 119, 120])
@pytest.mark.parametrize("streams", [1, 4, 7])
@pytest.mark.parametrize("whole", [False, True])
def test_streams_read_every_step_once_and_in_order(steps: int, streams: int, whole: bool) -> None:
    tokens = np.arange(2, steps + 3)
    if whole and steps < streams:
        return
    streams = min(streams, steps)
    windows = Windows(tokens, 10, streams, whole)
    batches = [windows.take(batch) for batch in StreamBatches(windows.windows)]
    assert [batch.continues for batch in batches] == [False] + [True] * (len(batches) - 1)
    assert all(len(one) >= len(other) for one, other in pairwise(batches))
    read: list[list[int]] = [[] for _ in range(streams)]
    for batch in batches:
        assert batch.step_targets is not None
        for row in range(len(batch)):
            sample = batch[row]
            assert sample.step_targets is not None
            np.testing.assert_array_equal(sample.step_targets, sample.inputs)  # class k is token k + 1
            assert sample.target == sample.step_targets[-1]
            read[row] += sample.inputs.tolist()
        beyond = np.arange(batch.inputs.shape[1]) >= batch.lengths[:, None]
        assert (batch.inputs[beyond] == 0).all()
        assert (batch.step_targets[beyond] == NO_TARGET).all()
    assert [*chain(*read)] == tokens[: sum(map(len, read))].tolist()
    assert steps - sum(map(len, read)) < (streams if whole else 1)


def test_independent_windows_are_shuffled_anew_and_all_served(tmp_path: Path) -> None:
    data = made(tmp_path, letters(2000), stateful=False, window=30, batch_size=7)
    loader = data.train_dataloader()
    epochs = [list(loader) for _ in range(2)]
    assert all(batch.continues is None for batch in epochs[0])
    rows = [
        sorted(tuple(row.tolist()) for batch in epoch for row in batch.inputs if len(row) == 30) for epoch in epochs
    ]
    assert rows[0] == rows[1]
    assert epochs[0][0].inputs.tolist() != epochs[1][0].inputs.tolist()


def test_parts_are_cut_by_position_and_the_vocabulary_is_of_train_alone(tmp_path: Path) -> None:
    text = letters(900) + "Z" * 50 + "Y" * 50  # Z and Y are in val and test alone
    data = made(tmp_path, text)
    found = data.corpus
    assert {name: len(part) for name, part in found.parts.items()} == {"train": 900, "val": 50, "test": 50}
    assert found.encoder.vocabulary is not None
    assert set(found.encoder.vocabulary.tokens) == set(text[:900])
    assert found.unknown == {"train": 0, "val": 50, "test": 50}
    assert found.encoder.decode(found.parts["train"]) == text[:900]
    assert data.read_report["unknown"] == found.unknown


def test_vocabulary_size_and_minimum_count(tmp_path: Path) -> None:
    text = "a" * 100 + "b" * 50 + "c" * 10 + "d" * 2
    data = made(tmp_path, text * 5, min_count=20, val_fraction=0.1, test_fraction=0.1)
    assert data.encoder.vocabulary is not None
    assert data.encoder.vocabulary.tokens == ("a", "b", "c")
    data = made(tmp_path, text * 5, vocabulary_size=1, val_fraction=0.1, test_fraction=0.1)
    assert data.encoder.size == 3
    assert data.task.input_size == 3
    assert data.task.output_size == 2


def test_bytes_are_any_files_and_need_no_vocabulary(tmp_path: Path) -> None:
    content = bytes(np.random.default_rng(0).integers(0, 256, 1000, dtype=np.uint8))
    data = made(tmp_path, content, tokens="bytes")
    assert np.concatenate([*data.corpus.parts.values()]).tolist() == [one + 2 for one in content]
    assert data.task.output_size == 257
    with pytest.raises(ValueError, match="given bytes beside"):
        made(tmp_path, content, tokens="bytes", min_count=2)


def test_characters_a_token_are_those_of_each_part(tmp_path: Path) -> None:
    text = "äb" * 475 + "a" * 160
    task = made(tmp_path, text, tokens="bytes").task
    assert task.characters == ((2 * 475 + 2) / (3 * 475 + 2), 1.0, 1.0)
    assert made(tmp_path, text).task.characters is None
    words = made(tmp_path, "good day, my lord\n" * 100, tokens="words")
    assert words.task.characters is not None
    for name, ratio in zip(SPLITS, words.task.characters, strict=True):
        assert ratio == words.corpus.characters[name] / len(words.corpus.parts[name])
    assert sum(words.corpus.characters.values()) == 1800
    assert Task.of(json.loads(json.dumps(words.task.plain()))) == words.task


WORDS = "Where art thou, (my lord)?\nHere: I'm here!\n"


def test_words_signs_and_ends_of_lines(tmp_path: Path) -> None:
    data = made(tmp_path, WORDS * 30, tokens="words")
    assert data.encoder.decode(data.encoder.tokens_of(WORDS)) == WORDS
    parts = data.corpus.parts
    np.testing.assert_array_equal(np.concatenate([*parts.values()]), data.encoder.tokens_of(WORDS * 30))


@pytest.mark.parametrize("tokens", ["chars", "bytes", "words"])
def test_an_encoder_is_made_again_from_what_is_stored(tokens: str, tmp_path: Path) -> None:
    encoder = made(tmp_path, WORDS * 30, tokens=tokens).encoder
    again = encoder_of(json.loads(json.dumps({"kind": encoder.kind, **encoder.plain()})))
    assert isinstance(again, StreamEncoder)
    sample, expected = again.encode(WORDS), encoder.encode(WORDS)
    np.testing.assert_array_equal(sample.inputs, expected.inputs)
    assert sample.step_targets is not None
    np.testing.assert_array_equal(sample.inputs[1:], sample.step_targets[:-1] + 1)
    assert again.with_text.tolist() == [False] + [True] * (encoder.size - 2)
    (item,) = again.items(tmp_path / "text.txt")
    np.testing.assert_array_equal(again.encode(item.raw).inputs, encoder.encode(WORDS * 30).inputs)


def test_a_token_without_text_is_never_shown() -> None:
    encoder = StreamEncoder("bytes")
    assert encoder.decode([0, 1, *encoder.tokens_of("ä€"), encoder.tokens_of("ä")[0]]) == "ä€�"
    assert list(encoder.decoded(encoder.tokens_of("ä€"))) == ["ä", "€"]  # as soon as it is one
    with pytest.raises(ValueError, match="expected at least two"):
        encoder.encode("a")


def test_other_writing_of_the_same_text_is_the_same(tmp_path: Path) -> None:
    plain = "Äpfel\n" * 100
    found = [
        made(tmp_path, content).corpus.parts["train"].tolist()
        for content in (plain, plain.replace("\n", "\r\n"), b"\xef\xbb\xbf" + plain.encode(), "A\u0308pfel\n" * 100)
    ]
    assert found[0] == found[1] == found[2] == found[3]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "leaves 0 tokens"),
        (b"ab\ncd", "leaves 0 tokens for val"),
        (b"fine\nna\xffh\n" * 50, "line 2: found bytes that are not utf-8"),
        (b"fine\nnu\0l\n" * 50, "line 2: found a NUL byte"),
        ("text".encode("utf-16") * 50, "found UTF-16"),
    ],
)
def test_what_is_no_text_is_refused_in_one_line(content: bytes, said: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said) as refused:
        made(tmp_path, content).task  # noqa: B018
    assert "\n" not in str(refused.value)
    assert "text.txt" in str(refused.value)


def test_three_lines_are_enough(tmp_path: Path) -> None:
    data = made(tmp_path, "To be, or not to be,\nthat is the question:\nWhether 'tis nobler")
    assert [len(data.corpus.parts[name]) for name in SPLITS] == [56, 3, 3]
    assert len(list(data.train_dataloader())) == 1


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name, text in {"b.txt": "second" * 30, "a.md": "first" * 30, "c.pdf": "no", ".d.txt": "no"}.items():
        (tmp_path / name).write_text(text)
    data = Text(str(tmp_path))
    joined = np.concatenate([*data.corpus.parts.values()])
    assert data.encoder.decode(joined) == "first" * 30 + "\n" + "second" * 30 + "\n"
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="has no file that ends in"):
        Text(str(tmp_path / "empty")).files()
    with pytest.raises(ValueError, match="which is not there"):
        Text(str(tmp_path / "nowhere")).files()
    with pytest.raises(ValueError, match=r"give dataset\.path=PATH"):
        Text().files()


def test_a_large_text_is_kept_by_its_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(corpus, "KEPT_FROM", 100)
    monkeypatch.setattr(corpus, "CHUNK", 333)
    text = letters(5000, alphabet="äöü €xyz\n")
    for tokens in ("chars", "words", "bytes"):
        monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / tokens))
        options: dict[str, Any] = {"tokens": tokens}
        first = made(tmp_path, text, **options)
        expected = first.corpus
        (kept,) = (tmp_path / tokens / "text").iterdir()
        before = kept.stat().st_mtime_ns
        with monkeypatch.context() as patch:
            patch.setattr(corpus, "_made", None)  # nothing is read anew
            again = made(tmp_path, text, **options).corpus
        assert again.encoder.plain() == expected.encoder.plain()
        assert again.characters == expected.characters
        assert again.key == expected.key
        for name in SPLITS:
            np.testing.assert_array_equal(again.parts[name], expected.parts[name])
        other = made(tmp_path, text + "!", **options)
        assert other.fingerprint != first.fingerprint
        kept.write_bytes(kept.read_bytes()[:-50])
        made(tmp_path, text, **options).corpus  # noqa: B018
        assert kept.stat().st_mtime_ns > before


def test_chunks_change_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = letters(5000, alphabet="äöü €xyz\n")
    whole = {tokens: made(tmp_path, text, tokens=tokens).corpus for tokens in ("chars", "words")}
    monkeypatch.setattr(corpus, "CHUNK", 97)
    for tokens, expected in whole.items():
        found = made(tmp_path, text, tokens=tokens).corpus
        assert found.encoder.plain() == expected.encoder.plain()
        for name in SPLITS:
            np.testing.assert_array_equal(found.parts[name], expected.parts[name])


@pytest.mark.parametrize("seed", range(20))
def test_words_cut_at_white_space_are_those_of_the_whole_line(seed: int) -> None:
    """No word holds white space, so each stretch between is cut once."""
    random = np.random.default_rng(seed)
    signs = list("ab1.,'\u2019 \n\t\u00a0\u2003\x1c\x85\u2028\u00e9\u65e5\u672c\u0e44\u0301\u200d-\u0436")
    signs += ["\U0001f469", "\U0001f3fd", "\U0001f1e9"]
    text = clean("".join(random.choice(signs, 400)) + "x" * 60, False)
    seen = _FirstSeen()
    (numbers,) = _word_numbers(text, seen.__getitem__)
    assert [list(seen)[number] for number in numbers] == list(pieces(text, "words"))


def test_evaluation_is_in_streams_that_follow_from_the_text_alone(tmp_path: Path) -> None:
    text = letters(5000)
    found = []
    for options in ({}, {"batch_size": 3, "window": 7}):
        data = made(tmp_path, text, **options)
        found.append([batch.inputs.tolist() for batch in data.val_dataloader()])
        assert sum(batch.structure.lengths.sum() for batch in data.val_dataloader()) == 249
    assert found[0] == found[1]
    assert made(tmp_path, text).fingerprint == made(tmp_path, text, window=7).fingerprint


def test_the_baseline_is_the_entropy_of_counts(tmp_path: Path) -> None:
    data = made(tmp_path, "ab" * 500)
    assert data.baselines()["val_bits"] == pytest.approx(1.0, abs=0.01)


def test_shakespeare_is_the_known_one(real_data: Callable[[str], Path]) -> None:
    data = Shakespeare(str(real_data("tinyshakespeare")))
    assert {name: len(part) for name, part in data.corpus.parts.items()} == {
        "train": 1_003_854,
        "val": 55_770,
        "test": 55_770,
    }
    assert data.encoder.size == 67
    assert data.corpus.unknown == {"train": 0, "val": 0, "test": 0}
    assert len(data.val_dataloader()) == -(-55_769 // 512)


@pytest.mark.slow
@pytest.mark.parametrize(("tokens", "seconds"), [("chars", 30), ("words", 30), ("bytes", 30)])
def test_100_mb_load_in_time(tokens: str, seconds: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU seconds of this process: the machine may have others to serve."""
    text = letters(1 << 20, alphabet="abcdefghij   \n") * 96
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path))
    options: dict[str, Any] = {"tokens": tokens}
    start = time.process_time()
    made(tmp_path, text, **options).task  # noqa: B018
    first = time.process_time()
    made(tmp_path, text, **options).task  # noqa: B018
    assert first - start <= seconds
    assert time.process_time() - first <= 3
