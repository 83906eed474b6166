"""Pretrained vectors of words, read from a file."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnn_research.datasets.text.vectors import coverage, read_vectors
from rnn_research.datasets.text.vocabulary import Vocabulary

WORDS = Vocabulary(["the", "cat", "NASA", "nowhere"])


def written(folder: Path, text: str, name: str = "vectors.txt") -> Path:
    path = folder / name
    path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    return path


@pytest.mark.parametrize("name", ["vectors.txt", "vectors.txt.gz"])
@pytest.mark.parametrize("header", ["", "4 2\n"])
def test_rows_are_those_of_the_vocabulary(name: str, header: str, tmp_path: Path) -> None:
    text = header + "the 1 -2.5\r\ndog 3 4\nnasa 5e-1 6\n. . . 8 9\nthe 9 9\ncat 7 8\n"
    found = read_vectors(written(tmp_path, text, name), WORDS)
    assert found.dtype == np.float32
    nan = [np.nan, np.nan]
    np.testing.assert_array_equal(found, np.float32([nan, nan, [1, -2.5], [7, 8], [0.5, 6], nan]))


def test_the_coverage_is_of_tokens_and_of_their_occurrences(tmp_path: Path) -> None:
    found = read_vectors(written(tmp_path, "the 1\ncat 2\n"), WORDS)
    assert coverage(found, np.array([0, 2, 6, 2, 1, 1])) == (
        "vectors: 2 of 4 tokens of the vocabulary have one (50.0%), and 8 of 12 in the training part (66.7%)"
    )


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("the 1 2\ncat 1\n", "line 2: found 1 numbers, expected 2"),
        ("the 1 2\ncat 1 2 3\n", "line 2: found 3 numbers, expected 2"),
        ("the 1 2\n\ncat 1 x\n", "line 3: found 'x', expected a number"),
        ("the 1 nan\n", "line 1: found 'nan', expected a number"),
        ("the\n", "line 1: found 0 numbers"),
        ("", "has no vector"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(text: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dataset\.vectors: ") as refused:
        read_vectors(written(tmp_path, text), WORDS)
    assert told in str(refused.value)


def test_no_file_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"can't read .*No such file"):
        read_vectors(tmp_path / "none", WORDS)
    (tmp_path / "cut.gz").write_bytes(gzip.compress(b"the 1 2\n" * 1000)[:20])
    with pytest.raises(ValueError, match=r"dataset\.vectors: can't read"):
        read_vectors(tmp_path / "cut.gz", WORDS)


def test_the_real_vectors_cover_the_words_that_they_were_cut_to(real_data: Callable[[str], Path]) -> None:
    (path,) = real_data("glove").glob("*.gz")
    found = read_vectors(path, Vocabulary(["the", "film", "zzzzzz"]))
    assert found.shape == (5, 50)
    assert np.isnan(found[:, 0]).tolist() == [True, True, False, False, True]
