"""Texts with their translations: every form of files, odd ones, splits, text and back, and that nothing leaks."""

from __future__ import annotations

import gzip
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from files_text import sentences

from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.text.multi30k import Multi30k
from rnn_research.datasets.text.pairs import lines_of
from rnn_research.datasets.text.parallel import ParallelText
from rnn_research.datasets.text.parallel_encoder import ParallelEncoder
from rnn_research.datasets.text.segments import SEGMENTERS, segmenter
from rnn_research.datasets.text.vocabulary import UNKNOWN

PAIRS = sentences(60)


def loaded(path: Path, **options: Any) -> ParallelText:
    data = ParallelText(str(path), **{"min_count": 1, **options})
    data.task  # noqa: B018
    return data


def texts(data: Any, split: str) -> list[tuple[str, str]]:
    """Both sides of every pair of a split, as text again."""
    encoder: ParallelEncoder = data.encoder
    token = encoder.source.token
    found = []
    for sample in data.samples(split):
        read = encoder.segmenter.join(token(int(one)) or "?" for one in sample.inputs)
        found.append((read, encoder.decode(sample.target_sequence)))
    return found


def write(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(side: int, pairs: Any = PAIRS, end: str = "\n") -> str:
    return "".join(f"{pair[side]}{end}" for pair in pairs)


def in_two_files(folder: Path) -> dict[str, Any]:
    write(folder / "b.txt", lines(1))
    return {"path": write(folder / "a.txt", lines(0)), "target_path": str(folder / "b.txt")}


def in_a_folder(folder: Path) -> dict[str, Any]:
    write(folder / "all.en", lines(0).removesuffix("\n"))
    write(folder / "all.de.gz", gzip.compress(b"\xef\xbb\xbf" + lines(1, end="\r\n").encode()))
    return {"path": folder, "source": "en", "target": "de"}


def in_a_table(folder: Path) -> dict[str, Any]:
    return {"path": write(folder / "p.tsv", "".join(f"{a}\t{b}\n\n" for a, b in PAIRS))}


def under_a_header(folder: Path) -> dict[str, Any]:
    rows = "".join(f"{n}\t{b}\t{a}\n" for n, (a, b) in enumerate(PAIRS))
    return {"path": write(folder / "p.tsv", f"id\tTarget\tSource\n{rows}")}


def by_number(folder: Path) -> dict[str, Any]:
    rows = "".join(f"{n}\t{b}\t{a}\n" for n, (a, b) in enumerate(PAIRS))
    return {"path": write(folder / "p.tsv", rows), "source": 3, "target": 2}


def as_json(folder: Path) -> dict[str, Any]:
    return {"path": write(folder / "p.jsonl", "".join(json.dumps({"source": a, "target": b}) + "\n" for a, b in PAIRS))}


def as_nested_json(folder: Path) -> dict[str, Any]:
    rows = "".join(json.dumps({"translation": {"en": a, "de": b}}, ensure_ascii=False) + "\n" for a, b in PAIRS)
    return {"path": write(folder / "p.jsonl", rows), "source": "en", "target": "de"}


FORMS = (in_two_files, in_a_folder, in_a_table, under_a_header, by_number, as_json)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_gives_the_same_pairs(form: Callable[[Path], dict[str, Any]], tmp_path: Path) -> None:
    data = loaded(**form(tmp_path))
    found = [pair for split in SPLITS for pair in texts(data, split)]
    assert sorted(found) == sorted(PAIRS)
    assert [len(data.samples(split)) for split in SPLITS] == [48, 6, 6]


def test_a_key_may_hold_both(tmp_path: Path) -> None:
    """As in Hugging Face's files; which language is read is said."""
    with pytest.raises(ValueError, match="has no text under 'source'"):
        loaded(as_nested_json(tmp_path)["path"])
    assert len(loaded(**as_nested_json(tmp_path)).samples("train")) == 48


def test_files_that_are_called_so_are_the_splits(tmp_path: Path) -> None:
    parts = {"train": PAIRS[:40], "dev": PAIRS[40:50], "test": [*PAIRS[50:], PAIRS[0]]}
    for name, pairs in parts.items():
        for side, ending in enumerate(("en", "de")):
            write(tmp_path / f"{name}.{ending}", lines(side, pairs))
    data = loaded(tmp_path, source="en", target="de")
    assert texts(data, "train") == PAIRS[1:40]  # one is in test too
    assert texts(data, "val") == parts["dev"]
    assert texts(data, "test") == parts["test"]
    assert data.report.dropped == {"of train, equal to one of val or test": 1}


def test_vocabularies_are_of_the_training_part_alone(tmp_path: Path) -> None:
    for name, extra in (("train", ()), ("val", (("zebra man.", "Zebra Mann."),)), ("test", (("gnu.", "Gnu."),))):
        pairs = [*PAIRS[:20], *extra] if name == "train" else [*PAIRS[20 + len(name) :][:5], *extra]
        for side, ending in enumerate(("en", "de")):
            write(tmp_path / f"{name}.{ending}", lines(side, pairs))
    data = loaded(tmp_path, source="en", target="de")
    assert not {"zebra", "gnu"} & set(data.encoder.source.tokens)
    assert not {"Zebra", "Gnu"} & set(data.encoder.target.tokens)
    assert data.samples("val")[-1].inputs[0] == UNKNOWN
    assert data.samples("test")[-1].target_sequence[0] == UNKNOWN
    assert "vocabularies: " in data.report.notes[-1]


def test_what_is_empty_or_too_long(tmp_path: Path) -> None:
    long = " ".join(["word"] * 3000)
    pairs = [*PAIRS, ("", "nichts"), ("nothing", " "), (long, "lang"), ("very long", long)]
    for name, given in (("train", pairs), ("val", [("so long " * 9, "so lang " * 9)]), ("test", [("so", "so")])):
        for side, ending in enumerate(("en", "de")):
            write(tmp_path / f"{name}.{ending}", lines(side, given))
    data = loaded(tmp_path, source="en", target="de", max_length=12)
    assert data.report.dropped == {"without a word on one side": 2, "of train, longer than max_length=12": 2}
    assert len(data.samples("val")[0].inputs) == len(data.samples("val")[0].target_sequence) == 12
    assert data.report.notes[0] == "val: 1 are longer than max_length=12, and cut"


ODD = {
    "Two men -- one's red, the other 3.5 m tall (really!).": "words",
    "\u6211\u7231\u5317\u4eac\u3002": "words",
    "\u0e09\u0e31\u0e19\u0e23\u0e31\u0e01\u0e04\u0e38\u0e13": "words",
    "caf\u00e9 \U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea!": "words",
    "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e": "words",
    "a  b": "characters",
}


@pytest.mark.parametrize(("text", "tokens"), ODD.items())
def test_text_comes_back_as_it_was(text: str, tokens: str) -> None:
    cut = segmenter(tokens)
    assert cut.join(cut.split(text)) == " ".join(text.split())
    for kind in SEGMENTERS:
        assert segmenter(kind).split(text)
        assert segmenter(kind, lower=True).split("AB c") == segmenter(kind).split("ab c")


def test_the_encoder_is_plain_data(tmp_path: Path) -> None:
    data = loaded(**in_a_table(tmp_path))
    again = encoder_of({"kind": "parallel", **json.loads(json.dumps(data.encoder.plain()))})
    assert isinstance(again, ParallelEncoder)
    for text, written in PAIRS[:5]:
        one, other = (encoder.encode(text, written) for encoder in (again, data.encoder))
        assert np.array_equal(one.inputs, other.inputs)
        assert np.array_equal(one.target_sequence, other.target_sequence)
        assert again.decode(one.target_sequence) == written
    items = list(again.items(tmp_path / "p.tsv"))
    assert [(item.raw, item.label) for item in items] == PAIRS
    assert items[1].where == f"{tmp_path / 'p.tsv'}, line 3"
    source = write(tmp_path / "plain.txt", "one\n\ntwo\n")
    assert [(item.where[-6:], item.raw) for item in again.items(source)] == [("line 1", "one"), ("line 3", "two")]
    with pytest.raises(ValueError, match="found no word"):
        again.encode("  ")
    with pytest.raises(ValueError, match="without 'target'"):
        ParallelEncoder.of({"source": []} | {"tokens": "words"})


BROKEN: dict[str, tuple[Callable[[Path], dict[str, Any]], str]] = {
    "no path": (lambda folder: {"path": folder / "none.tsv"}, "none.tsv, which is not there"),
    "unequal": (
        lambda folder: {"path": write(folder / "a", "x\ny\n"), "target_path": str(write(folder / "b", "x\n"))},
        "b: has 1 lines, but a has 2; give each line its own",
    ),
    "no other": (
        lambda folder: {"path": write(folder / "a.en", "x\n").parent, "source": "en", "target": "de"},
        "a.en: has no a.de beside it; add its translations",
    ),
    "no table": (lambda folder: {"path": write(folder / "a.en", "x\n")}, "a.en: is neither TSV nor JSONL; set dataset"),
    "one column": (lambda folder: {"path": write(folder / "a.tsv", "x\ty\nx\n")}, "a.tsv, line 2: has 1 columns"),
    "no column": (
        lambda folder: {"path": write(folder / "a.tsv", "x\ty\n"), "source": "en", "target": "y"},
        "a.tsv, line 1: has no column en; set dataset.source",
    ),
    "no JSON": (lambda folder: {"path": write(folder / "a.jsonl", "{}\n{")}, "a.jsonl, line 1: has no text under"),
    "no text": (
        lambda folder: {"path": write(folder / "a.jsonl", '\n{"source": 1, "target": "x"}')},
        "a.jsonl, line 2: has no text under 'source'",
    ),
    "latin": (
        lambda folder: {"path": write(folder / "a.tsv", b"a\tb\nb\xe9\tc")},
        "line 2: found bytes that are",
    ),
    "utf-16": (lambda folder: {"path": write(folder / "a.tsv", "a\tb".encode("utf-16"))}, "found UTF-16"),
    "gzip": (lambda folder: {"path": write(folder / "a.tsv.gz", b"a\tb")}, "a.tsv.gz: can't be unpacked"),
    "twice": (
        lambda folder: {"path": write(folder / "a.tsv", "source\tsource\ttarget\na\tb\tc\n")},
        "line 1: has 2 columns named 'source'",
    ),
    "nothing": (lambda folder: {"path": write(folder / "a.tsv", "\t\n\n")}, "a.tsv has no sample"),
    "two": (lambda folder: {"path": write(folder / "a.tsv", "a\tb\nc\td\n")}, "a.tsv: found 2 samples, which leaves"),
    "rare": (lambda folder: {**in_a_table(folder), "min_count": 999}, "min_count: given 999, but the most frequent"),
    "short": (lambda folder: {**in_a_table(folder), "max_length": 1}, "max_length: given 1, which leaves no pair"),
    "half": (lambda folder: {"path": folder, "source": "en"}, "source: given en with target=None, expected both"),
    "tokens": (lambda folder: {"path": folder, "tokens": "pieces"}, "tokens: given 'pieces', expected"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_is_wrong_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    make, told = BROKEN[name]
    with pytest.raises(ValueError) as refused:  # noqa: PT011
        loaded(**make(tmp_path))
    assert told in str(refused.value)
    assert "\n" not in str(refused.value)


def test_the_real_multi30k(real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture) -> None:
    root = real_data("multi30k")
    data = Multi30k(str(root))
    assert [len(data.samples(split)) for split in SPLITS] == [28_999, 1_014, 1_000]
    assert "differ from those published" not in caplog.text
    assert data.report.dropped == {"of train, equal to one of val or test": 1}
    source = [" ".join(line.split()) for line in lines_of(root / "test_2016_flickr.en.gz")]
    words = data.encoder.segmenter
    assert [words.join(words.split(line)) for line in source] == source


@pytest.mark.slow
def test_the_real_multi30k_the_other_way_round_has_the_same_words(real_data: Callable[[str], Path]) -> None:
    data, other = (Multi30k(str(real_data("multi30k")), source=source) for source in ("en", "de"))
    assert other.task.input_size == data.task.output_size
    assert other.task.output_size == data.task.input_size


# Subwords.


def test_subwords_are_of_the_training_part_and_give_text_again(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    rows = [(f"{a} ", b, ("train", "train", "val", "test")[n % 4]) for n, (a, b) in enumerate(PAIRS)]
    for part in ("train", "val", "test"):
        some = [(a, b) for a, b, of in rows if of == part]
        planted = [("quixotically xylophone", "Quatschwort")] * (part == "test")
        write(tmp_path / f"{part}.tsv", "".join(f"{a}\t{b}\n" for a, b in [*some, *planted]))
    data = ParallelText(str(tmp_path), tokens="subwords", vocabulary_size=80)
    encoder = data.encoder
    assert isinstance(encoder, ParallelEncoder)
    again = encoder_of(json.loads(json.dumps({"kind": "parallel", **encoder.plain()})))
    assert isinstance(again, ParallelEncoder)
    for name in SPLITS:
        pairs = [(a.strip(), b) for a, b, of in rows if of == name]
        found = texts(data, name)
        assert [pair for pair in found if "?" not in pair[0]][: len(pairs)] == pairs[: len(found)]
        for source, target in pairs[:5]:
            one, other = encoder.encode(source, target), again.encode(source, target)
            np.testing.assert_array_equal(one.inputs, other.inputs)
            np.testing.assert_array_equal(one.target_sequence, other.target_sequence)
            assert encoder.decode(one.target_sequence) == target
    assert len(encoder.segmenter.split("quixotically")) > 4  # no piece of a word that test alone has
    assert len(encoder.source.tokens) <= 80
    unknown = np.concatenate([sample.inputs for sample in data.samples("train")]) == UNKNOWN
    assert not unknown.any()
    assert ParallelText(str(tmp_path), tokens="subwords", vocabulary_size=80).fingerprint == data.fingerprint


def test_without_sentencepiece_it_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sentencepiece", None)
    write(tmp_path / "all.tsv", "".join(f"{a}\t{b}\n" for a, b in PAIRS))
    with pytest.raises(ValueError, match=r"sentencepiece is not installed; run pip install"):
        ParallelText(str(tmp_path / "all.tsv"), tokens="subwords").load()


def test_subwords_that_are_damaged_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("sentencepiece")
    write(tmp_path / "all.tsv", "".join(f"{a}\t{b}\n" for a, b in PAIRS))
    plain = ParallelText(str(tmp_path / "all.tsv"), tokens="subwords", vocabulary_size=60).encoder.plain()  # type: ignore[union-attr]
    for model in ("####", "YWJj", plain["subwords"][: len(plain["subwords"]) // 2 // 4 * 4]):
        with pytest.raises(ValueError, match="encoder: given subwords that are damaged"):
            encoder_of({"kind": "parallel", **plain, "subwords": model})
