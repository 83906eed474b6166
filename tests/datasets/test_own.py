"""What all data share that a user gives by a path: files, splits, duplicates, the report of what was read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rnn_research.datasets.encoder import Encoder, encoder_of
from rnn_research.datasets.own.files import files_at, text_of
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.own.parts import parts_of_files
from rnn_research.datasets.own.splitting import split, without_duplicates
from rnn_research.datasets.task import SPLITS, Task
from rnn_research.structures import Sample


class Letters(OwnData):
    """Lines `label letters`, each letter a token."""

    def read(self) -> RawSamples:
        lines = [line.split() for line in text_of(self.located()).splitlines() if line.strip()]
        labels, texts = [label for label, _ in lines], [text for _, text in lines]
        return RawSamples(texts, labels, texts, lambda number: f"{self.path}, line {number + 1}")

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> LetterEncoder:
        return LetterEncoder()

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        return Task(input_size=128, tokens=True, **shared)


class LetterEncoder(Encoder):
    kind = "letters"

    def plain(self) -> dict[str, Any]:
        return {}

    @classmethod
    def of(cls, plain: Mapping[str, Any]) -> LetterEncoder:
        return cls()

    def encode(self, raw: Any, target: Any = 0) -> Sample:
        return Sample(np.array([ord(letter) for letter in raw]), target)

    def items(self, path: Path) -> Any:
        return iter(())


def made(folder: Path, lines: Sequence[str], **options: Any) -> Letters:
    path = folder / "letters.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return Letters(str(path), **options)


LINES = [f"{'ab'[number % 4 == 0]} {chr(97 + number % 26)}{chr(97 + number // 26)}" for number in range(100)]


def test_splits_are_stratified_disjoint_and_of_the_training_parts_classes(tmp_path: Path) -> None:
    data = made(tmp_path, LINES)
    found = {name: Counter(int(sample.target) for sample in data.samples(name)) for name in SPLITS}
    assert sum(sum(one.values()) for one in found.values()) == 100
    assert {name: sum(one.values()) for name, one in found.items()} == {"train": 80, "val": 10, "test": 10}
    for one in found.values():
        assert 0.7 <= one[0] / sum(one.values()) <= 0.8
    assert data.task.classes == ("a", "b")
    assert data.shared() == ""


def test_the_splits_follow_from_their_own_seed_alone(tmp_path: Path) -> None:
    same, other = made(tmp_path, LINES), made(tmp_path, LINES, split_seed=1)
    assert made(tmp_path, LINES).fingerprint == same.fingerprint != other.fingerprint


def test_duplicates_are_dropped_before_splitting_and_said(tmp_path: Path) -> None:
    data = made(tmp_path, [*LINES, *LINES[:30], "b " + LINES[1].split()[1]])
    assert sum(len(data.samples(name)) for name in SPLITS) == 100
    assert data.read_report["dropped"] == {"equal to an earlier sample": 31}
    assert "1 samples are equal to an earlier one of another class" in data.read_report["notes"]


def test_class_weights_are_of_the_training_part(tmp_path: Path) -> None:
    data = made(tmp_path, LINES, class_weights="balanced")
    train = Counter(int(sample.target) for sample in data.samples("train"))
    count = sum(train.values())
    weights = data.task.class_weights
    assert weights is not None
    assert weights == tuple(count / (2 * train[number]) for number in range(2))
    assert sum(weights[int(sample.target)] for sample in data.samples("train")) == pytest.approx(count)


def test_what_was_left_out_is_said_where_too_little_stays(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"after samples were left out \(3 equal to an earlier sample\): found 1 samples"
    ):
        made(tmp_path, ["a x", "a x", "b x", "a x"]).task  # noqa: B018
    with pytest.raises(ValueError, match=r"has the one class 'a' after samples were left out \(1 equal"):
        made(tmp_path, ["a x", "a y", "a z", "a x"]).task  # noqa: B018


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("train.csv", "train"),
        ("X_TEST.ts", "test"),
        ("train/a.csv", "train"),
        ("Validation/deep/a.csv", "val"),
        ("train/test.csv", "test"),
        ("test/train/a.csv", "test"),
        ("a.csv", ""),
        ("train_test/a.csv", ""),
    ],
)
def test_names_and_folders_say_the_split(name: str, part: str) -> None:
    assert parts_of_files([Path("test/data") / name], Path("test/data")) == [part]
    assert parts_of_files([Path("test/train.csv")], Path("test/train.csv")) == [""]


@pytest.mark.parametrize("lines", [[], ["a x"], ["a x", "b y"], ["a x", "a y", "a z"]])
def test_too_little_is_refused(lines: list[str], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="path: "):
        made(tmp_path, lines).task  # noqa: B018


def test_three_samples_are_one_for_each_split(tmp_path: Path) -> None:
    data = made(tmp_path, ["a x", "b y", "b z"])
    assert [len(data.samples(name)) for name in SPLITS] == [1, 1, 1]


def test_given_splits_are_kept_and_missing_ones_drawn_from_train() -> None:
    given = ["train"] * 40 + ["test"] * 10
    found = split(50, given=given, val_fraction=0.25)
    assert found["test"].tolist() == list(range(40, 50))
    assert len(found["val"]) == 10
    assert set(found["val"]) | set(found["train"]) == set(range(40))


def test_groups_are_never_apart() -> None:
    groups = [number // 7 for number in range(70)]
    found = split(70, groups=groups, val_fraction=0.2, test_fraction=0.3)
    held = {name: {groups[index] for index in part} for name, part in found.items()}
    assert {name: len(one) for name, one in held.items()} == {"train": 5, "val": 2, "test": 3}
    assert not (held["train"] & held["val"])
    assert not (held["train"] & held["test"])
    assert not (held["val"] & held["test"])


def test_a_group_in_two_given_splits_is_refused() -> None:
    with pytest.raises(ValueError, match="group 3 is in train and in test"):
        split(4, groups=[3, 3, 4, 5], given=["train", "test", "val", "train"])


def test_an_official_test_part_stays_whole() -> None:
    kept, dropped = without_duplicates(list("abcabd"), ["train", "train", "train", "test", "val", "val"])
    assert kept.tolist() == [2, 3, 4, 5]
    assert dropped == {"of train, equal to one of val or test": 2}


def test_what_is_drawn_from_a_part_is_never_equal_to_what_stays_in_it() -> None:
    """Its own equals are dropped first, where a split is drawn from it, and only there."""
    kept, dropped = without_duplicates(list("aabbcc"), ["train"] * 4 + ["test"] * 2)
    assert kept.tolist() == [0, 2, 4, 5]
    assert dropped == {"of train, equal to an earlier one": 2}
    kept, dropped = without_duplicates(list("aabc"), ["train", "train", "val", "test"])
    assert (kept.tolist(), dropped) == ([0, 1, 2, 3], {})


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"a x\nb \xff\n", "line 2: found bytes that are not utf-8"),
        (b"a x\n\x00\n", "line 2: found a NUL byte"),
        (b"\xff\xfea\x00", "found UTF-16"),
        ("a x\nb y\n".encode("utf-16-le"), "found UTF-16, expected text in UTF-8; convert it"),
        ("a x\nb y\n".encode("utf-16-be"), "found UTF-16"),
        ("a x\n".encode("utf-32"), "found UTF-32"),
        (b"\0\0\xfe\xff" + "a x\n".encode("utf-32-be"), "found UTF-32"),
        ("a x\n".encode("utf-32-le"), "found UTF-32"),
        (b"\x1f\x8b\x08\0", "found a gzip file, expected text in UTF-8; unpack it"),
        (b"PK\x03\x04\0", "found a zip file"),
    ],
)
def test_what_is_no_text_is_refused_with_its_line(content: bytes, found: str, tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=found):
        text_of(path)


def test_a_byte_order_mark_and_carriage_returns_are_no_text(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_bytes("\ufeffa\r\nb\rc".encode())
    assert text_of(path) == "a\nb\nc"


def test_files_of_a_folder_are_found_in_order(tmp_path: Path) -> None:
    for name in ("b/2.TXT", "a.txt", ".git/x.txt", "c.md"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x")
    assert [str(one.relative_to(tmp_path)) for one in files_at(tmp_path, [".txt"], "text")] == ["a.txt", "b/2.TXT"]
    with pytest.raises(ValueError, match=r"no file that ends in \.wav"):
        files_at(tmp_path, [".wav"], "sound")


def test_a_task_is_itself_after_json() -> None:
    task = Task("classification", 7, 2, tokens=True, classes=("a", "b"), class_weights=(0.5, 1.5), monitor="accuracy")
    assert Task.of(task.plain()) == task


def test_an_unknown_encoder_is_refused() -> None:
    with pytest.raises(ValueError, match=r"kind 'os.system', expected one of"):
        encoder_of({"kind": "os.system"})
