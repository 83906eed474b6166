"""Labelled texts of a user's own files: every format, odd files, splits, the cache, and that nothing leaks."""

from __future__ import annotations

import csv
import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.text import labelled
from rnn_research.datasets.text.encoder import TextEncoder
from rnn_research.datasets.text.labelled import LabelledText
from rnn_research.datasets.text.vocabulary import UNKNOWN

ROWS = [
    (f"good film number {number}", "pos") if number % 3 else (f"bad film number {number}", "neg")
    for number in range(60)
]


def written(folder: Path, content: str | bytes, name: str = "data.csv") -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def loaded(path: Path, **options: Any) -> LabelledText:
    data = LabelledText(str(path), **{"min_count": 1, **options})
    data.task  # noqa: B018
    return data


def texts(data: LabelledText) -> dict[str, str]:
    """Every text that was read, as its known tokens, and its class."""
    assert isinstance(data.encoder, TextEncoder)
    classes, token = data.encoder.classes, data.encoder.vocabulary.token
    return {
        " ".join(token(int(one)) or "?" for one in sample.inputs): classes[sample.target]
        for name in SPLITS
        for sample in data.samples(name)
    }


FORMATS = {
    "header.csv": "id,Text,Label\n" + "".join(f'{n},"{text}",{label}\n' for n, (text, label) in enumerate(ROWS)),
    "no_header.csv": "".join(f"{label},{text}\n" for text, label in ROWS),
    "semicolon.csv": "label;text\n" + "".join(f"{label};{text}\n" for text, label in ROWS),
    "foreign.csv": "Klasse,Satz\n" + "".join(f"{label},{text}\n" for text, label in ROWS),
    "crlf.csv": b"\xef\xbb\xbf" + ("text,label\r\n" + "".join(f"{t},{c}\r\n\r\n" for t, c in ROWS)).encode(),
    "a.tsv": "label\ttext\n" + "".join(f"{label}\t{text}\n" for text, label in ROWS),
    "b.txt": "".join(f"{label}\t{text}\n" for text, label in ROWS),
    "c.txt": "".join(f"{text}\t{label}\n\n" for text, label in ROWS),
    "d.txt": "".join(f"__label__{label} {text}\n" for text, label in ROWS),
    "e.jsonl": "".join(json.dumps({"id": "x", "text": text, "label": label}) + "\n" for text, label in ROWS),
    "f.txt": "".join(json.dumps({"etwas": text, "anderes": label}) + "\n" for text, label in ROWS),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_gives_the_same(name: str, tmp_path: Path) -> None:
    data = loaded(written(tmp_path, FORMATS[name], name))
    assert data.task.classes == ("neg", "pos")
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 48, "val": 6, "test": 6}
    found = texts(data)
    assert len(found) == 60 or "?" in "".join(found)  # numbers that train lacks are unknown
    assert all(("bad" in text) == (label == "neg") for text, label in found.items())


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_read_for_prediction_is_what_was_read_for_training(name: str, tmp_path: Path) -> None:
    path = written(tmp_path, FORMATS[name], name)
    data = loaded(path)
    encoder = data.encoder
    assert encoder is not None
    again = encoder_of(json.loads(json.dumps({"kind": encoder.kind, **encoder.plain()})))
    assert again.plain() == encoder.plain()
    items = list(again.items(path))
    assert [(item.raw, item.label) for item in items] == ROWS
    assert all(str(path) in item.where and "line " in item.where for item in items)
    plain = written(tmp_path, "a good film, or bad?\n\nother\n", "plain.txt")
    assert [(item.raw, item.label) for item in again.items(plain)] == [("a good film, or bad?", None), ("other", None)]
    np.testing.assert_array_equal(again.encode("good film").inputs, encoder.encode(("good", "film")).inputs)


def test_columns_by_name_and_by_number(tmp_path: Path) -> None:
    rows = "".join(f"{n},{label},x,{text}\n" for n, (text, label) in enumerate(ROWS))
    named = loaded(written(tmp_path, "a,b,c,d\n" + rows), text_column="d", label_column="b")
    numbered = loaded(written(tmp_path, rows, "2.csv"), text_column=4, label_column=2)
    assert named.fingerprint == numbered.fingerprint
    with pytest.raises(ValueError, match=r"line 1: found the columns 'a', 'b', 'c', 'd', of which none is known as"):
        loaded(written(tmp_path, "a,b,c,d\n" + rows))
    with pytest.raises(ValueError, match=r"expected 'z' among them; mend dataset\.label_column"):
        loaded(written(tmp_path, "a,b,c,d\n" + rows), text_column="d", label_column="z")


def test_a_split_column_and_a_folders_files_are_the_splits(tmp_path: Path) -> None:
    part = ["train"] * 40 + ["dev"] * 10 + ["test"] * 10
    rows = zip(ROWS, part, strict=True)
    column = written(tmp_path, "split,text,label\n" + "".join(f"{p},{t},{c}\n" for (t, c), p in rows))
    for name, some in (("train", ROWS[:40]), ("valid", ROWS[40:50]), ("test", ROWS[50:])):
        written(tmp_path / "folder", "".join(f"{label}\t{text}\n" for text, label in some), f"{name}.tsv")
    written(tmp_path / "folder", "nothing to read here", "readme.txt")
    sizes = [
        {name: len(data.samples(name)) for name in SPLITS} for data in (loaded(column), loaded(tmp_path / "folder"))
    ]
    assert sizes == [{"train": 40, "val": 10, "test": 10}] * 2
    assert loaded(column).fingerprint == loaded(tmp_path / "folder").fingerprint


def test_of_two_columns_with_one_name_a_number_says_which(tmp_path: Path) -> None:
    rows = "".join(f"{text},other,{label}\n" for text, label in ROWS)
    data = loaded(written(tmp_path, "text,text,label\n" + rows), text_column=1)
    other = loaded(written(tmp_path / "b", "text,more,label\n" + rows))
    assert data.fingerprint == other.fingerprint
    assert data.encoder is not None
    read = list(data.encoder.items(tmp_path / "data.csv"))
    assert [(item.raw, item.label) for item in read] == [*ROWS]
    with pytest.raises(ValueError, match=r"dataset\.text_column and dataset\.label_column are both column 1, 'text'"):
        loaded(written(tmp_path, "text,label\nx,a\n"), text_column="text", label_column=1)


def test_a_long_text_of_csv_leaves_the_processs_limit_as_it_was(tmp_path: Path) -> None:
    before = csv.field_size_limit()
    rows = "".join(f"{'word ' * 40_000}{number},{'ab'[number % 2]}\n" for number in range(4))
    data = loaded(written(tmp_path, "text,label\n" + rows), max_length=None)
    assert max(len(sample.inputs) for sample in data.samples("train")) == 40_001
    assert csv.field_size_limit() == before


def test_folders_named_train_and_test_are_the_splits(tmp_path: Path) -> None:
    for name, some in (("train/a", ROWS[:30]), ("train/b", ROWS[30:40]), ("dev/a", ROWS[40:50]), ("test/a", ROWS[50:])):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        written(tmp_path, "".join(f"{label}\t{text}\n" for text, label in some), f"{name}.tsv")
    written(tmp_path, "nothing to read here", "readme.txt")
    data = loaded(tmp_path)
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 40, "val": 10, "test": 10}
    assert "files that are no train, val or test are not read: readme.txt" in data.read_report["notes"]


def test_a_quoted_text_has_several_lines(tmp_path: Path) -> None:
    content = 'text,label\n"one\r\ntwo, ""three""\n",a\nfour,b\n"five\nsix",a\n,b\nseven,\n'
    data = loaded(written(tmp_path, content))
    assert data.read_report["dropped"] == {"without text": 1, "without a label": 1}
    assert {len(sample.inputs) for name in SPLITS for sample in data.samples(name)} == {2, 1, 6}


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("a.csv", 'text,label\nx,a\n"y,b\nz,a\n', "line 3: found a quote that is never closed"),
        ("a.csv", "text,label\nx,a\ny\n", "line 3: found 1 columns, expected 2"),
        ("a.csv", "text,label\nx,a\n\ny,b\0\n", "line 4: found a NUL byte"),
        ("a.csv", b"text,label\nx,a\n\xff,b\n", "line 3: found bytes that are not utf-8"),
        ("a.csv", "text,label,split\nx,a,train\ny,b,holdout\n", "line 3: found the split 'holdout'"),
        ("a.csv", "text,label,text\nx,a,y\n", "line 1: found 2 columns named 'text', the columns 1 and 3"),
        ("a.csv", "Label,text,label\na,x,b\n", "line 1: found 2 columns named 'label', the columns 1 and 3"),
        ("a.csv", "text,label\nx,\ny,\n", "has no sample after samples were left out (2 without a label)"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "x"\n', "line 2: found no JSON"),
        ("a.jsonl", '{"text": "x", "label": 1}\n[1]\n', "line 2: found '[1]', expected an object"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": ["x"], "label": 1}\n', "line 2: found list under 'text'"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "y", "label": NaN}\n', "line 2: found nan under 'label'"),
        ("a.jsonl", '{"text": NaN, "label": 1}\n', "line 1: found nan under 'text', expected text"),
        ("a.jsonl", '{"text": "x", "label": 1}\n{"text": "\\u0000", "label": 1}\n', "line 2: found a NUL byte"),
        ("a.txt", "__label__a x\ny\n", "line 2: found no __label__"),
        ("a.txt", "__label__a __label__b x\n", "line 1: found two labels"),
        ("a.txt", "a\tx\nb y\n", "line 2: found 1 columns"),
        ("a.txt", "nothing but words\n", "found no labels"),
        ("a.csv", "", "has no sample"),
        ("a.csv", "text,label\n,\n", "has no sample"),
    ],
)
def test_what_is_malformed_is_refused_in_one_line(name: str, content: str | bytes, told: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^(dataset\.)?path: ") as refused:
        loaded(written(tmp_path, content, name))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_split_that_is_none_is_refused_where_the_column_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, "text,label,split\nx,a,train\ny,b,holdout\n")
    with pytest.raises(ValueError, match="line 3: found the split 'holdout', expected train, val or test"):
        loaded(path, split_column="split")


@pytest.mark.parametrize("lines", [["хорошо\tда", "плохо\tнет", "так себе\tда"], ["很好\t是", "不好\t否", "好\t是"]])
def test_three_lines_of_any_alphabet(lines: list[str], tmp_path: Path) -> None:
    data = loaded(written(tmp_path, "\n".join(lines), "x.txt"))
    assert [len(data.samples(name)) for name in SPLITS] == [1, 1, 1]


def test_half_a_pair_in_json_is_no_text(tmp_path: Path) -> None:
    path = written(
        tmp_path, '{"text": "\\ud83d x", "label": "a"}\n' + json.dumps({"text": "y", "label": "b"}), "x.jsonl"
    )
    with pytest.raises(ValueError, match="none for"):
        loaded(path)
    json.dumps([one.raw for one in TextEncoder("words", True, loaded_vocabulary()).items(path)]).encode()


def loaded_vocabulary() -> Any:
    from rnn_research.datasets.text.vocabulary import Vocabulary

    return Vocabulary(["x"])


# Nothing of the test part reaches what is trained with.


def planted(folder: Path) -> Path:
    for name, some in (
        ("train", ROWS[:40]),
        ("val", ROWS[40:50]),
        ("test", [*ROWS[50:], ("leakedword leakedword", "pos")]),
    ):
        written(folder, "text,label\n" + "".join(f"{text},{label}\n" for text, label in some), f"{name}.csv")
    return folder


def test_a_token_of_the_test_part_stays_unknown_also_where_it_has_a_vector(tmp_path: Path) -> None:
    vectors = written(tmp_path, "good 1 2\nleakedword 3 4\n", "vectors.txt")
    for frozen in (False, True):
        data = loaded(planted(tmp_path / "data"), vectors=str(vectors), freeze_vectors=frozen)
        encoder = data.encoder
        assert isinstance(encoder, TextEncoder)
        assert "leakedword" not in encoder.vocabulary.numbers
        assert data.samples("test")[-1].inputs.tolist() == [UNKNOWN, UNKNOWN]
        assert data.task.vectors is not None
        assert np.isfinite(data.task.vectors[:, 0]).sum() == 1
        assert data.task.vectors_frozen == frozen


def test_equal_texts_are_never_in_two_splits(tmp_path: Path) -> None:
    rows = [*ROWS, *((text.upper(), label) for text, label in ROWS[::2])]
    data = loaded(written(tmp_path, "text,label\n" + "".join(f"{text},{label}\n" for text, label in rows)))
    assert data.read_report["dropped"] == {"equal to an earlier sample": 30}
    assert sum(len(data.samples(name)) for name in SPLITS) == 60


def test_vectors_are_of_the_vocabulary_and_their_coverage_is_said(tmp_path: Path) -> None:
    vectors = written(tmp_path, "2 2\ngood 1 2\nfilm 3 4\n", "vectors.txt")
    data = loaded(planted(tmp_path / "data"), vectors=str(vectors))
    (said,) = [note for note in data.read_report["notes"] if note.startswith("vectors: ")]
    assert "vectors: 2 of 44 tokens of the vocabulary have one (4.5%), and 66 of 160 in the training part" in said
    moved = loaded(tmp_path / "data", vectors=str(shutil.move(vectors, tmp_path / "elsewhere.txt")))
    assert moved.fingerprint == data.fingerprint
    others = [None, str(written(tmp_path, "good 1 2\nfilm 3 5\n", "others.txt"))]
    assert len({data.fingerprint, *(loaded(tmp_path / "data", vectors=one).fingerprint for one in others)}) == 3
    with pytest.raises(ValueError, match=r"freeze_vectors: given true without vectors"):
        LabelledText("x", freeze_vectors=True)


# The cache.


def test_a_second_start_reads_what_the_first_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(labelled, "KEPT", 1)
    path = written(tmp_path, FORMATS["header.csv"])
    first = loaded(path, class_weights="balanced")
    (place,) = (tmp_path / "cache" / "texts").iterdir()
    with monkeypatch.context() as patch:
        patch.setattr(LabelledText, "read", lambda self: pytest.fail("read again"))
        second = loaded(path, class_weights="balanced")
    assert second.fingerprint == first.fingerprint
    assert second.task == first.task
    assert second.read_report == first.read_report
    assert second.encoder is not None
    assert first.encoder is not None
    assert second.encoder.plain() == first.encoder.plain()
    place.write_bytes(place.read_bytes()[:100])
    assert loaded(path, class_weights="balanced").fingerprint == first.fingerprint
    written(tmp_path, FORMATS["header.csv"].replace("bad film", "bad"))  # type: ignore[arg-type]
    assert loaded(path).fingerprint != first.fingerprint


@pytest.mark.slow
def test_100_000_lines_are_read_in_seconds_and_sooner_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CPU time: other processes may have the machine."""
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "cache"))
    random = np.random.default_rng(0)
    words = [f"w{number:x}" for number in (random.pareto(0.5, 2_000_000) * 50).astype(np.int64) % 40_000]
    lines = (f"{'abcd'[n % 4]}\t{n} {' '.join(words[n * 20 : n * 20 + 20])}" for n in range(100_000))
    path = written(tmp_path, "\n".join(lines), "many.tsv")
    took = []
    for _ in range(2):
        start = time.process_time()
        data = loaded(path)
        took.append(time.process_time() - start)
        assert sum(len(data.samples(name)) for name in SPLITS) == 100_000
    assert took[0] <= 15
    assert took[1] <= 3


def test_the_longest_are_cut_and_said(tmp_path: Path) -> None:
    content = "".join(f"a\tx{number} y z u\nb\tv{number} y z u\n" for number in range(30))
    data = loaded(written(tmp_path, content, "x.txt"), max_length=3, vocabulary_size=2)
    assert "60 texts have more than max_length=3 tokens and are cut" in data.read_report["notes"]
    assert data.task.input_size == 4


def test_an_encoder_of_other_data_is_refused() -> None:
    with pytest.raises(ValueError, match="encoder: given one of text without"):
        encoder_of({"kind": "text", "tokens": "words"})


def test_real_messages_are_read_as_ones_own(real_data: Callable[[str], Path]) -> None:
    """The messages as one's own file: the format and the columns are found."""
    data = loaded(real_data("sms_spam") / "SMSSpamCollection")
    assert data.task.classes == ("ham", "spam")
    assert sum(data.read_report["dropped"].values()) > 400
