"""TREC's questions and the SMS Spam Collection: tiny files in their format, and the real ones where they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from files_text import messages, questions

from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.text.encoder import TextEncoder
from rnn_research.datasets.text.published import SmsSpam, Trec

COARSE = ("ABBR", "DESC", "ENTY", "HUM", "LOC", "NUM")


def test_questions_are_read_in_their_encoding_and_the_test_part_is_theirs(tmp_path: Path) -> None:
    data = Trec(str(questions(tmp_path)))
    assert data.task.classes == COARSE
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 54, "val": 6, "test": 12}
    encoder = data.encoder
    assert isinstance(encoder, TextEncoder)
    assert "köln" in encoder.vocabulary.numbers
    again = encoder_of({"kind": "text", **encoder.plain()})
    items = list(again.items(tmp_path / "TREC_10.label"))
    assert [item.label for item in items] == [COARSE[one % 6] for one in range(12)]
    expected = [sample.inputs.tolist() for sample in data.samples("test")]
    assert [again.encode(item.raw).inputs.tolist() for item in items] == expected
    (plain := tmp_path / "plain.txt").write_text("Wo liegt Köln ?\n", encoding="utf-8")
    assert [item.raw for item in again.items(plain)] == ["Wo liegt Köln ?"]


def test_finer_classes_have_their_coarse_ones_name(tmp_path: Path) -> None:
    assert Trec(str(questions(tmp_path)), classes=50).task.classes == (
        "ABBR:exp",
        "DESC:def",
        "ENTY:animal",
        "HUM:ind",
        "LOC:city",
        "NUM:date",
    )
    with pytest.raises(ValueError, match="classes: given 5, expected 6 or 50"):
        Trec(classes=5)


def test_a_question_without_its_class_is_refused_with_its_line(tmp_path: Path) -> None:
    path = questions(tmp_path) / "train_5500.label"
    path.write_bytes(path.read_bytes().replace(b"HUM:ind", b"HUM ind", 1))
    with pytest.raises(ValueError, match=r"train_5500\.label, line 4: found no question with its class"):
        Trec(str(tmp_path)).task  # noqa: B018
    (tmp_path / "TREC_10.label").unlink()
    with pytest.raises(ValueError, match=r"has no TREC_10\.label"):
        Trec(str(tmp_path)).task  # noqa: B018


def test_equal_messages_are_dropped_before_splits_are_drawn(tmp_path: Path) -> None:
    data = SmsSpam(str(messages(tmp_path)))
    assert data.read_report["dropped"] == {"equal to an earlier sample": 14}
    assert sum(len(data.samples(name)) for name in SPLITS) == 40
    assert data.task.monitor == "macro_f1"


def test_the_real_questions(real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    data = Trec(str(real_data("trec")))
    assert len(data.samples("test")) == 500
    counts = Counter(int(sample.target) for sample in data.samples("test"))
    assert [counts[number] for number in range(6)] == [9, 138, 94, 65, 81, 113]
    said = data.read_report["dropped"]
    left = sum(len(data.samples(name)) for name in ("train", "val"))
    assert left + sum(said.values()) == 5452
    assert "differ from those published" not in caplog.text
    assert Trec(str(real_data("trec")), classes=50).task.output_size == 50


def test_the_real_messages(real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    data = SmsSpam(str(real_data("sms_spam")))
    assert data.task.classes == ("ham", "spam")
    said = data.read_report["dropped"]
    assert sum(len(data.samples(name)) for name in SPLITS) + sum(said.values()) == 5574
    assert said["equal to an earlier sample"] >= 5574 - 5171
    assert "differ from those published" not in caplog.text
