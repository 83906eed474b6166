"""Series of numbers: a file a sample, long tables, .ts files, gaps, and the published ones."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from files import made
from files_audio import tone
from files_series import idx_files, long_table, recordings, ts_files

from rnn_research.config.build import build
from rnn_research.config.compose import Composer
from rnn_research.config.run_one import run_one
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.known import digest_of
from rnn_research.datasets.own.archives import published_files
from rnn_research.datasets.series.encoder import SeriesEncoder
from rnn_research.datasets.series.gaps import without_gaps
from rnn_research.datasets.series.japanese_vowels import JapaneseVowels
from rnn_research.datasets.series.reading import read_series
from rnn_research.datasets.series.sequential_mnist import SequentialMNIST, idx_array
from rnn_research.datasets.series.series import SeriesFiles
from rnn_research.datasets.series.skeleton_actions import SkeletonActions, facing_one_way
from rnn_research.datasets.task import SPLITS
from rnn_research.structures import Sample


def sizes(data: DataModule) -> dict[str, int]:
    return {name: len(data.samples(name)) for name in SPLITS}


# One's own.


def test_a_long_table_is_split_by_subject(tmp_path: Path) -> None:
    data = SeriesFiles(str(long_table(tmp_path)), val_fraction=0.2, test_fraction=0.2)
    read = data.found()
    assert sizes(data) == {"train": 20, "val": 5, "test": 5}
    assert data.task.classes == ("a", "b")
    assert set(read.groups) == set("012345")
    assert [len(one) for one in read.series][:3] == [len(one) for one in read.series[:3]]


def test_rows_of_a_table_may_come_in_any_order(tmp_path: Path) -> None:
    path = long_table(tmp_path)
    header, *rows = path.read_text().splitlines()
    shuffled = np.random.default_rng(1).permutation(rows)
    (other := tmp_path / "other.csv").write_text("\n".join([header, *shuffled]) + "\n")
    first, second = read_series(path), read_series(other)
    order = {place: number for number, place in enumerate(dict.fromkeys(row.split(",")[0] for row in shuffled))}
    for number, one in enumerate(first.series):
        np.testing.assert_array_equal(one, second.series[order[str(number)]])


@pytest.mark.parametrize("ending", ["csv", "npy", "npz", "tsv"])
def test_a_file_a_sample_in_folders_by_class(ending: str, tmp_path: Path) -> None:
    random, kept = np.random.default_rng(0), []
    for number in range(12):
        values = random.normal(size=(3 + number % 4, 2))
        folder = tmp_path / "ab"[number % 2]
        folder.mkdir(exist_ok=True)
        path = folder / f"subject{number % 4}_{number:02}.{ending}"
        if ending == "npy":
            np.save(path, values)
        elif ending == "npz":
            np.savez(path, values)
        else:
            separator = "," if ending == "csv" else "\t"
            path.write_text("\n".join(separator.join(map(repr, row)) for row in values.tolist()) + "\n")
        kept.append((str(path), values))
    read = read_series(tmp_path, group_pattern=r"subject(\d)")
    for (path, values), place, one in zip(sorted(kept, key=lambda k: k[0]), read.places, read.series, strict=True):
        assert place[0] == path
        np.testing.assert_array_equal(one, values)
    assert set(read.groups) == set("0123")
    data = SeriesFiles(str(tmp_path), group_pattern=r"subject(\d)", val_fraction=0.25, test_fraction=0.25)
    assert sum(sizes(data).values()) == 12


def test_a_manifest_says_labels_splits_and_groups(tmp_path: Path) -> None:
    rows = ["file;class;split;subject"]
    for number in range(9):
        (tmp_path / f"{number}.csv").write_text(f"x y\n{number} 1\n2 {number}\n")
        rows.append(f"{number}.csv;{'uv'[number % 2]};{SPLITS[number // 3]};{number // 3}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    data = SeriesFiles(str(tmp_path))
    assert sizes(data) == {"train": 3, "val": 3, "test": 3}
    assert data.samples("train")[0].inputs.shape == (2, 2)


def test_the_scale_is_of_the_training_part_alone(tmp_path: Path) -> None:
    rows = ["id,time,x,label,split"]
    for number in range(9):
        value = 1e6 if number >= 6 else float(number)  # outliers, in test alone
        rows += [f"{number},{step},{value + step},{number % 2},{SPLITS[number // 3]}" for step in range(3)]
    (path := tmp_path / "t.csv").write_text("\n".join(rows) + "\n")
    data = SeriesFiles(str(path))
    inside = np.array([number + step for number in range(3) for step in range(3)], dtype=float)
    encoder = data.encoder
    assert isinstance(encoder, SeriesEncoder)
    assert encoder.mean.tolist() == [inside.mean()]
    assert encoder.std.tolist() == pytest.approx([inside.std()])
    train = np.concatenate([sample.inputs for sample in data.samples("train")])
    assert train.mean() == pytest.approx(0, abs=1e-6)
    assert train.std() == pytest.approx(1, rel=1e-6)


def test_an_encoder_is_itself_after_json(tmp_path: Path) -> None:
    data = SeriesFiles(str(long_table(tmp_path)))
    encoder = data.encoder
    assert encoder is not None
    again = encoder_of(json.loads(json.dumps({"kind": encoder.kind, **encoder.plain()})))
    items = list(again.items(tmp_path / "steps.csv"))
    samples = {sample.inputs.tobytes() for split in SPLITS for sample in data.samples(split)}
    assert {again.encode(item.raw).inputs.tobytes() for item in items} == samples
    assert items[0].where.endswith("steps.csv, line 2")
    assert {item.label for item in items} == {"a", "b"}


# Gaps.

HOLES = np.array([[np.nan, 1.0], [1.0, 2.0], [np.inf, 3.0], [3.0, np.nan]])


def test_gaps_are_refused_dropped_or_interpolated() -> None:
    with pytest.raises(ValueError, match="found nan at step 0, column 0"):
        without_gaps(HOLES, "refuse")
    assert without_gaps(HOLES, "drop")[0].tolist() == [[1.0, 2.0]]
    filled, count = without_gaps(HOLES, "interpolate")
    assert filled.tolist() == [[1.0, 1.0], [1.0, 2.0], [2.0, 3.0], [3.0, 3.0]]
    assert count == 3
    with pytest.raises(ValueError, match="column 0 has no finite value"):
        without_gaps(HOLES[:1], "interpolate")
    with pytest.raises(ValueError, match="no step without"):
        without_gaps(HOLES[:1], "drop")


@pytest.mark.parametrize("policy", ["drop", "interpolate"])
def test_what_was_done_with_gaps_is_said(policy: str, tmp_path: Path) -> None:
    path = long_table(tmp_path)
    lines = path.read_text().splitlines()
    lines[1] = ",".join([*lines[1].split(",")[:2], "nan", *lines[1].split(",")[3:]])
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(ValueError, match=r"steps.csv, line 2: found nan at step 0, column x.*dataset.missing=drop"):
        SeriesFiles(str(path)).task  # noqa: B018
    data = SeriesFiles(str(path), missing=policy)
    assert data.task.input_size == 2
    assert data.read_report["notes"][0].startswith("1 steps with missing values were")


# What is refused.


@pytest.mark.parametrize(
    ("name", "content", "found"),
    [
        ("a.csv", "id,time,x,label\n1,0,q,a\n", r"a.csv, line 2: found 'q', expected a number"),
        ("a.csv", "id,time,x,label\n1,0,1\n", "line 2: found 3 columns, expected 4"),
        ("a.csv", "id,time,x,label\n1,0,1,a\n1,1,1,b\n", "line 3: found the label 'b' of sample 1, but line 2 has 'a'"),
        ("a.csv", "1,0,1,a\n", "found no header"),
        ("a.csv", "time,x,label\n0,1,a\n", "none that says the sample"),
        ("a.csv", "id,time,x,label\n", "found no row but the header"),
        ("a.csv", "id,x,label,split\n1,1,a,tset\n", "line 2: found the split 'tset'"),
        ("a.csv", 'id,x,label\n1,1,a\n2,"1,a\n3,1,a\n', "line 3: found a row that can't be read"),
        ("a.csv", "id;x;label\n1;1,5;a\n", "line 2: found '1,5' with a decimal comma"),
        ("a.csv", "id,x,label\n1,1_5,a\n", "line 2: found '1_5', expected a number"),
        ("a.csv", "id,time,x,label\n1,nan,2,a\n", "line 2: found the time 'nan', expected a finite one"),
        ("a.csv", "id,time,x,label\n1,noon,2,a\n", "line 2: found 'noon', expected a number or a date"),
        ("a.csv", "id,label\n1,a\n", "line 1: found the columns id, label, but none of numbers"),
        ("a.csv", "id,x,x,label\n1,2,2,a\n", "line 1: found two columns 'x'"),
        (
            "a.csv",
            "id,label,x,Label\n1,a,2,a\n",
            "line 1: found 2 columns named 'label', expected one for dataset.label",
        ),
        ("a.ts", "@data\n1,2:a\n".encode("utf-16").decode("latin-1"), "found UTF-16"),
        ("a.csv", "id,x,label\n1,2,a\n1,3,a\n1,inf,a\n", "line 4: found inf at step 2, column x"),
        (
            "a.csv",
            "id,x,label\n" + "".join(f"{n},1,{'ab'[n % 2]}\n" for n in range(9)),
            r"after samples were left out \(8 equal to an earlier sample\)",
        ),
        (
            "a.csv",
            "id,x,label\n" + "".join(f"{n},{n}e200,{'ab'[n % 2]}\n" for n in range(9)),
            r"line \d: found .e\+200 at step 0, column x, expected at most 1e\+150",
        ),
        ("a.ts", "@targetlabel true\n@data\n", "line 1: found numbers to predict"),
        ("a.ts", "@data\n1,2:3,4:a\n1,2:b\n", "line 3: found 1 dimensions, expected 2"),
        ("a.ts", "@timeStamps true\n@data\n", "line 1: found time stamps"),
        ("a.ts", "@data\n1,2,3\n", "line 2: found no class at the end"),
        ("a.ts", "1,2:a\n", "before @data"),
        ("a.ts", "@data\n1,q:a\n", "line 2: found 'q', expected a number"),
    ],
)
def test_what_is_malformed_is_refused_with_its_line(name: str, content: str, found: str, tmp_path: Path) -> None:
    (path := tmp_path / name).write_text(content, encoding="latin-1")
    with pytest.raises(ValueError, match=found) as error:
        SeriesFiles(str(path)).task  # noqa: B018
    assert "\n" not in str(error.value)


def test_tables_with_columns_in_another_order_are_read_by_name(tmp_path: Path) -> None:
    rows = [f"{n},{n % 3},{10 + n % 4},{'ab'[n % 2]}" for n in range(12)]
    (tmp_path / "train.csv").write_text("id,x,y,label\n" + "\n".join(rows) + "\n")
    turned = [",".join([row.split(",")[k] for k in (3, 2, 1, 0)]) for row in rows]
    (tmp_path / "test.csv").write_text("label,y,x,id\n" + "\n".join(turned) + "\n")
    read = read_series(tmp_path)
    by_name = [(1, 0), (0, 1)][read.columns == ("x", "y")]
    np.testing.assert_array_equal(np.array(read.series[:12]), np.array(read.series[12:]))
    assert read.series[0][0, by_name[1]] >= 10
    (tmp_path / "test.csv").write_text("label,y,z,id\n" + "\n".join(turned) + "\n")
    with pytest.raises(ValueError, match=r"train.csv, line 1: found the columns x, y, expected y, z"):
        read_series(tmp_path)


def test_an_encoder_finds_its_columns_in_a_table_with_others(tmp_path: Path) -> None:
    data = SeriesFiles(str(long_table(tmp_path)))
    rows = [line.split(",") for line in (tmp_path / "steps.csv").read_text().splitlines()]
    other = tmp_path / "other.csv"
    other.write_text("\n".join(",".join([*row[::-1], "more" if n == 0 else "7"]) for n, row in enumerate(rows)) + "\n")
    encoder = data.encoder
    assert encoder is not None
    again = encoder_of(json.loads(json.dumps({"kind": encoder.kind, **encoder.plain()})))
    for first, second in zip(again.items(tmp_path / "steps.csv"), again.items(other), strict=True):
        np.testing.assert_array_equal(first.raw, second.raw)


def test_an_encoder_takes_no_column_of_numbers_for_a_class(tmp_path: Path) -> None:
    """`y` is a usual name of a class, where no other column has one; and new tables need not say classes and groups."""
    encoder = SeriesFiles(str(long_table(tmp_path)), label_column="label", group_column="subject").encoder
    assert encoder is not None
    rows = [line.split(",") for line in (tmp_path / "steps.csv").read_text().splitlines()]
    (other := tmp_path / "other.csv").write_text("\n".join(",".join(row[:4]) for row in rows) + "\n")
    for first, second in zip(encoder.items(tmp_path / "steps.csv"), encoder.items(other), strict=True):
        np.testing.assert_array_equal(first.raw, second.raw)
        assert second.label is None


def test_files_with_a_header_are_read_by_name_and_a_gap_is_named_by_its_file(tmp_path: Path) -> None:
    (tmp_path / "1.csv").write_text("\ufeffx;y\r\n1;2\r\n", encoding="utf-8")
    (tmp_path / "2.csv").write_text("y;x\n2;1\n\nnan;5\n")
    (tmp_path / "labels.csv").write_text("file,label\n1.csv,a\n2.csv,b\n")
    read = read_series(tmp_path)
    assert read.series[1][0].tolist() == [1.0, 2.0]
    with pytest.raises(ValueError, match=r"2.csv, line 4: found nan at step 1, column y"):
        SeriesFiles(str(tmp_path)).task  # noqa: B018
    (tmp_path / "2.csv").write_text("1,5;2,5\n")
    with pytest.raises(ValueError, match=r"2.csv, line 1: found '1,5' with a decimal comma"):
        read_series(tmp_path)


def test_time_may_be_a_date(tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text(
        "id,time,x,label\n1,2024-03-01T00:00:00Z,3,a\n1,2024-02-28 23:59:59.500,1,a\n1,2024-02-29,2,a\n"
    )
    assert read_series(path).series[0].ravel().tolist() == [1.0, 2.0, 3.0]


def test_a_ts_file_may_begin_with_a_mark_and_have_any_letters(tmp_path: Path) -> None:
    head = "\ufeff# Ångström Å\u2028\r\n@classLabel true é b\r\n@data\r\n"
    (path := tmp_path / "a.ts").write_bytes((head + "1,2:3,4:é\r\n").encode() + b"1:2:b\r\n# caf\xe9 \x85\r\n")
    read = read_series(path)
    assert read.labels == ["é", "b"]
    assert read.places[0][1] == 4


def test_ts_files_may_be_gzipped(tmp_path: Path) -> None:
    (plain := tmp_path / "plain").mkdir()
    (packed := tmp_path / "packed").mkdir()
    contents = {f"{path.name}.gz": gzip.compress(path.read_bytes()) for path in ts_files(plain).iterdir()}
    for name, content in contents.items():
        (packed / name).write_bytes(content)
    first, second = read_series(plain), read_series(packed)
    assert first.given == second.given
    assert set(first.given) == {"train", "test"}
    assert all(np.array_equal(a, b) for a, b in zip(first.series, second.series, strict=True))
    name = min(contents)
    (packed / name).write_bytes(contents[name][:-20])
    with pytest.raises(ValueError, match=f"{name}: found a gzip file that is damaged"):
        read_series(packed)


def test_with_few_samples_to_choose_by_weights_are_chosen_by_the_loss(tmp_path: Path) -> None:
    rows = [f"{n},{n},{'ab'[n % 2]}" for n in range(1200)]
    (path := tmp_path / "a.csv").write_text("id,x,label\n" + "\n".join(rows) + "\n")
    assert SeriesFiles(str(path), val_fraction=0.1).task.monitor == "accuracy"
    assert SeriesFiles(str(path), val_fraction=0.05).task.monitor == "loss"


def test_a_table_without_classes_is_refused(tmp_path: Path) -> None:
    (path := tmp_path / "a.csv").write_text("id,x,y_axis\n1,1,1\n2,2,2\n")
    with pytest.raises(ValueError, match="no column that says the class"):
        SeriesFiles(str(path)).task  # noqa: B018


def test_columns_that_are_named_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"dataset.group_column: given 'sujbect'.*did you mean subject"):
        SeriesFiles(str(long_table(tmp_path)), group_column="sujbect").task  # noqa: B018


def test_samples_of_other_columns_are_refused(tmp_path: Path) -> None:
    for name, text in (("a/1.csv", "1,2\n3,4\n"), ("b/2.csv", "1\n2\n"), ("b/3.csv", "1,2\n2,3\n")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=r"2.csv: found 1 columns, expected 2 as in .*1.csv"):
        SeriesFiles(str(tmp_path)).task  # noqa: B018


def test_an_array_of_objects_is_not_unpickled(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    np.save(tmp_path / "a" / "x.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match=r"x.npy: found what can't be read"):
        SeriesFiles(str(tmp_path)).task  # noqa: B018


# The published ones.


def test_published_files_are_found_in_folders_and_archives(tmp_path: Path) -> None:
    import tarfile
    import zipfile

    plain, zipped, packed, tarred = (tmp_path / name for name in ("plain", "zip", "gz", "tar"))
    for folder in (plain, zipped, packed, tarred):
        folder.mkdir()
    ts_files(plain)
    names = sorted(path.name for path in plain.iterdir())
    with zipfile.ZipFile(zipped / "x.zip", "w") as archive, tarfile.open(tarred / "x.tar.xz", "w:xz") as other:
        for name in names:
            archive.write(plain / name, f"in/{name}")
            other.add(plain / name, f"in/{name}")
            (packed / f"{name}.gz").write_bytes(gzip.compress((plain / name).read_bytes()))
    found = [published_files(folder, lambda name: name in names, "x") for folder in (plain, zipped, packed, tarred)]
    assert sorted(found[0]) == names
    assert len({digest_of(one) for one in found}) == 1


@pytest.mark.parametrize("content", [b"PK\x03\x04 broken", b""])
def test_a_damaged_archive_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(content)
    with pytest.raises(ValueError, match=r"dataset\.root: "):
        JapaneseVowels(str(tmp_path)).task  # noqa: B018


@pytest.mark.parametrize(
    ("make", "name", "change", "found"),
    [
        (JapaneseVowels, "JapaneseVowels_TEST.ts", None, "has no JapaneseVowels_TEST.ts"),
        (
            JapaneseVowels,
            "JapaneseVowels_TRAIN.ts",
            ("@data\n", "@data\nnan,"),
            "line 5: found nan at step 0",
        ),
        (
            JapaneseVowels,
            "JapaneseVowels_TRAIN.ts",
            (":1\n", ":q,1:1\n"),
            "line 5: found 'q', expected",
        ),
        (
            JapaneseVowels,
            "JapaneseVowels_TEST.ts",
            ("@data\n", "@data\n1,2:1\n#"),
            "line 5: found 1 dimensions",
        ),
        (
            SkeletonActions,
            "joints_s01_e02.txt",
            None,
            "labels, line 6: s01_e02, of which there is no",
        ),
        (SkeletonActions, "joints_s01_e02.txt", ("\n3 ", "\n3 inf "), "s01_e02.txt, line 4: found 62 numbers"),
        (SkeletonActions, "joints_s01_e02.txt", ("\n3 ", "\n3.5 "), "s01_e02.txt, line 4: found the frame 3.5"),
        (SkeletonActions, "joints_s01_e02.txt", (" -0.", " nan"), "s01_e02.txt, line 1: found 'nan"),
        (SkeletonActions, "joints_s01_e02.txt", ("", ""), "s01_e02.txt: found no frame"),
        (SkeletonActions, "actionLabel.txt", ("walk:", "walk"), "actionLabel.txt, line 2: found 'walk 1 3'"),
        (SequentialMNIST, "t10k-labels-idx1-ubyte", None, "has no t10k-labels-idx1-ubyte"),
        (SequentialMNIST, "t10k-images-idx3-ubyte", ("t10k-labels-idx1-ubyte", 0), "t10k-images.* has values of shape"),
        (SequentialMNIST, "t10k-labels-idx1-ubyte", ("train-labels-idx1-ubyte", 0), "t10k-labels.* expected 10 labels"),
    ],
)
def test_published_files_that_are_not_as_published_are_refused(
    make: Callable[..., DataModule], name: str, change: tuple[str, Any] | None, found: str, tmp_path: Path
) -> None:
    {"JapaneseVowels": ts_files, "SkeletonActions": recordings, "SequentialMNIST": idx_files}[make.__name__](tmp_path)
    path = tmp_path / name
    if change is None:
        path.unlink()
    elif change[1] == 0:
        path.write_bytes((tmp_path / change[0]).read_bytes())
    else:
        path.write_text(path.read_text().replace(*change, 1) if change[0] else "")
    with pytest.raises(ValueError, match=found) as error:
        make(str(tmp_path)).task  # noqa: B018
    assert str(error.value).startswith(("root: ", "dataset.root: "))


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ([], "leaves none to test"),
        ([1, 6], "leaves none to train"),
        ([6, 99], "given 99, expected an integer from 1 to 10"),
    ],
)
def test_subjects_that_are_not_there_are_refused(given: list[int], found: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=found):
        SkeletonActions(str(recordings(tmp_path)), test_subjects=given).task  # noqa: B018


def test_skeletons_are_split_by_subject_and_read_each_frame_once(tmp_path: Path) -> None:
    data = SkeletonActions(str(recordings(tmp_path)), val_fraction=0.2)
    assert sizes(data) == {"train": 5, "val": 1, "test": 6}
    assert {len(sample.inputs) for sample in data.samples("test")} == {3}
    assert data.task.input_size == 120
    assert data.read_report["dropped"] == {"without a label": 6}


def test_a_skeleton_is_the_same_wherever_it_stands_and_looks() -> None:
    joints = np.random.default_rng(0).normal(size=(5, 20, 3))
    joints -= joints[:, :1]
    angle = 0.7
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    np.testing.assert_allclose(facing_one_way(joints @ turn.T), facing_one_way(joints), atol=1e-12)


def test_images_are_read_by_pixel_by_row_and_permuted(tmp_path: Path) -> None:
    root = str(idx_files(tmp_path))
    by_pixel, by_row = SequentialMNIST(root), SequentialMNIST(root, by="row")
    permuted = SequentialMNIST(root, permute=True)
    images = idx_array(tmp_path / "t10k-images-idx3-ubyte", (tmp_path / "t10k-images-idx3-ubyte").read_bytes())
    first = (images[0] / 255).astype(np.float32)
    np.testing.assert_array_equal(by_pixel.samples("test")[0].inputs.reshape(28, 28), first)
    np.testing.assert_array_equal(by_row.samples("test")[0].inputs, first)
    assert sorted(permuted.samples("test")[0].inputs.ravel()) == sorted(first.ravel())
    assert sizes(by_pixel) == {"train": 110, "val": 10, "test": 10}
    fewer = SequentialMNIST(root, fraction=0.5)
    assert sizes(fewer) == {"train": 55, "val": 10, "test": 10}


def test_an_encoder_reads_the_test_images_as_the_data_do(tmp_path: Path) -> None:
    data = SequentialMNIST(str(idx_files(tmp_path)), permute=True, by="row")
    items = list(data.encoder.items(tmp_path / "t10k-images-idx3-ubyte"))
    for item, sample in zip(items, data.samples("test"), strict=True):
        np.testing.assert_allclose(data.encoder.encode(item.raw).inputs, sample.inputs)
        assert item.label == str(sample.target)


@pytest.mark.parametrize("content", [b"", b"\0\0\x08\x03\0\0\0\x01", b"\0\0\x08\x01\0\0\0\x05ab", b"\0\0\x0d\x01"])
def test_a_damaged_idx_file_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match=r"x: (found|has)"):
        idx_array(Path("x"), content)


@pytest.mark.parametrize(
    ("make", "name", "expected"),
    [
        (JapaneseVowels, "japanese_vowels", {"train": 243, "val": 27, "test": 370}),
        (SequentialMNIST, "mnist", {"train": 55000, "val": 5000, "test": 10000}),
    ],
)
def test_the_real_data_have_their_published_sizes(
    make: Callable[..., DataModule],
    name: str,
    expected: dict[str, int],
    real_data: Callable[[str], Path],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = make(str(real_data(name)))
    assert sizes(data) == expected
    assert "differ" not in caplog.text


def test_real_segments_have_the_published_sizes_and_lengths(
    real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    data = SkeletonActions(str(real_data("utkinect")))
    assert sizes(data) == {"train": 90, "val": 10, "test": 99}
    lengths = [len(sample.inputs) for name in SPLITS for sample in data.samples(name)]
    assert (len(lengths), min(lengths), max(lengths)) == (199, 5, 110)
    assert "differ" not in caplog.text
    assert isinstance(data.samples("train")[0], Sample)


# What is measured of them.


@pytest.mark.parametrize(
    ("dataset", "kind"),
    [
        ("series", "SeriesFiles"),
        ("japanese_vowels", "JapaneseVowels"),
        ("skeleton_actions", "SkeletonActions"),
        ("audio_folder", "AudioFolder"),
    ],
)
def test_an_adjoint_is_of_every_step_of_every_sample_and_of_no_padding(dataset: str, kind: str, tmp_path: Path) -> None:
    files = [f"{key}={value}" for key, value in made(kind, tmp_path).items()]
    for number in range(12 if dataset == "audio_folder" else 0):
        tone(tmp_path / "AudioFolder" / "low" / f"{number}_long.wav", 300, seconds=0.02 * (number + 1), seed=number)
    more = [
        "hidden_size=4",
        "dataset.batch_size=64",
        "trainer.max_steps=1",
        "probe=[adjoint]",
        "probe.adjoint.samples=64",
    ]
    given = ["model=lstm", f"dataset={dataset}", *files, *more]
    asked = Composer().run(given)
    assert run_one(asked, tmp_path / "run").status == "done"
    table = np.load(tmp_path / "run" / "probes" / "adjoint.npy")
    first = table[table["step"] == table["step"].min()]
    found = [sorted(first["distance"][first["sample"] == sample]) for sample in np.unique(first["sample"])]
    lengths = [len(sample.inputs) for sample in build(asked.task).data.samples("train")]
    assert sorted(map(len, found)) == sorted(lengths)
    assert len(set(lengths)) > 1 or dataset == "skeleton_actions"
    assert all(distances == list(range(len(distances))) for distances in found)
    assert (first["hidden"] > 0).all()
