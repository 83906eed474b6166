"""The run record: whole or not there at all, and exact on the way back."""

from __future__ import annotations

import dataclasses
import json
import math
import os
import signal
import stat
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rnn_research.records import checksum, encoding, runs
from rnn_research.records.metrics_file import read_metrics
from rnn_research.records.runs import DamagedRecord, RunRecord


def record(**changes) -> RunRecord:
    fields = {
        "name": "a run",
        "status": "done",
        "choices": {"model": "lstm"},
        "seed": 3,
        "config": {"model": {"cell": {"hidden_size": 64}}, "lengths": [1, 2], "none": None},
        "parameters": 17546,
        "data": {"name": "digits", "fingerprint": "abc"},
        "versions": {"torch": "2.13.0"},
        "commit": None,
        "machine": {"cores": 2},
        "start": "2026-01-01T00:00:00+00:00",
    }
    return RunRecord(**(fields | changes))


def change(folder: Path, **changes) -> None:
    """Write into a record's JSON what the code never would."""
    path = folder / runs.RECORD
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


# -- the record --------------------------------------------------------------------------------------


def test_a_record_comes_back_equal(tmp_path: Path):
    written = record(final={"test_accuracy": 1 / 3}, best={"val_loss": 1e-300}, end="2026-01-01T01:00:00+00:00")
    runs.write(written, tmp_path)
    assert runs.read(tmp_path) == written


def test_numbers_that_are_not_finite_come_back_in_standard_json(tmp_path: Path):
    final = {"train_loss": math.nan, "val_loss": math.inf, "test_loss": -math.inf, "test_accuracy": 0.5}
    runs.write(record(final=final, config={"lr": math.inf}), tmp_path)
    text = (tmp_path / runs.RECORD).read_text()
    json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    back = runs.read(tmp_path)
    assert math.isnan(back.final["train_loss"])
    assert (back.final["val_loss"], back.final["test_loss"]) == (math.inf, -math.inf)
    assert back.config["lr"] == "inf"


def test_numpys_numbers_are_plain_numbers(tmp_path: Path):
    machine = {"cores": np.int64(2), "memory": np.float32(0.5), "load": np.float64(np.inf)}
    runs.write(record(machine=machine, final={"test_accuracy": np.float64(0.5)}), tmp_path)
    back = runs.read(tmp_path)
    assert back.machine == {"cores": 2, "memory": 0.5, "load": "inf"}
    assert back.final == {"test_accuracy": 0.5}


def test_a_status_that_is_none_of_them_is_refused():
    with pytest.raises(ValueError, match="status: given 'finished', expected one of running, done"):
        record(status="finished")


def test_fields_of_a_later_minor_change_are_ignored(tmp_path: Path):
    runs.write(record(), tmp_path)
    change(tmp_path, energy="3 kWh")
    assert runs.read(tmp_path) == record()


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "null", '"text"', "\x00\x01", "[" * 100_000, "1" * 5_000, '{"version": 1}']
)
def test_what_is_no_record_is_damaged_and_named(tmp_path: Path, content: str):
    (tmp_path / runs.RECORD).write_text(content)
    with pytest.raises(DamagedRecord, match=r"run\.json: .*run it again"):
        runs.read(tmp_path)


def test_bytes_that_are_no_text_are_damaged(tmp_path: Path):
    (tmp_path / runs.RECORD).write_bytes(b"\xff\xfe{}")
    with pytest.raises(DamagedRecord):
        runs.read(tmp_path)


def test_a_missing_record_is_damaged(tmp_path: Path):
    with pytest.raises(DamagedRecord, match="No such file"):
        runs.read(tmp_path)


def test_a_record_cut_off_anywhere_is_damaged_and_nothing_else(tmp_path: Path):
    runs.write(record(), tmp_path)
    whole = (tmp_path / runs.RECORD).read_text()
    for length in range(0, len(whole.rstrip()), 7):
        (tmp_path / runs.RECORD).write_text(whole[:length])
        with pytest.raises(DamagedRecord):
            runs.read(tmp_path)


@pytest.mark.parametrize("version", [0, 3, "1", None, True])
def test_another_record_version_is_named_with_what_can_be_done(tmp_path: Path, version):
    runs.write(record(), tmp_path)
    change(tmp_path, version=version)
    with pytest.raises(
        DamagedRecord, match=f"record version {version!r}, this rnn_research reads versions 1 to 2; compare"
    ):
        runs.read(tmp_path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"choices": ["model=lstm"]}, "choices: found list, expected dict"),
        ({"seed": "3"}, "seed: found str, expected int"),
        ({"commit": 7}, "commit: found int"),
        ({"final": {"test_accuracy": "high"}}, "could not convert string to float: 'high'"),
        ({"final": {"test_accuracy": None}}, "NoneType"),
        ({"baselines": 3}, "baselines: found int"),
        ({"status": "finished"}, "status: given 'finished'"),
    ],
)
def test_a_value_of_another_type_is_damaged(tmp_path: Path, changes: dict, message: str):
    runs.write(record(), tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(DamagedRecord, match=message):
        runs.read(tmp_path)


HOSTILE = [
    {"success": {"metric": 3, "bound": 0.9, "above": True, "step": None}},
    {"success": {"metric": "accuracy", "bound": "x", "above": True, "step": None}},
    {"success": {"metric": "accuracy", "bound": 0.9, "above": True, "step": [1]}},
    {"success": {"step": 5}},
    {"steps": -1},
    {"seed": True},
    {"parameters": 10**30},
    {"diverged_step": -5},
    {"final": {"test_accuracy": 10**400}},
    {"name": "\ud800"},
    {"choices": {"\udfff": "x"}},
    {"overrides": [5]},
    {"overrides": ["\ud800"]},
    {"config": {"a": [[["\ud800"]]]}},
    {"config": {"a": 10**40}},
    {"data": {"name": {"a": 1}}},
    {"engine": {"used": 1}},
    {"machine": json.loads('{"a":' * 60 + "1" + "}" * 60)},
]


@pytest.mark.parametrize("changes", HOSTILE, ids=lambda changes: str(changes)[:40].encode("ascii", "replace").decode())
def test_a_hostile_record_is_damaged_in_one_line(tmp_path: Path, changes: dict):
    runs.write(record(), tmp_path)
    change(tmp_path, **changes)
    with pytest.raises(DamagedRecord, match=r"run\.json: damaged") as said:
        runs.read(tmp_path)
    assert "\n" not in str(said.value)
    assert len(str(said.value)) < 500


@pytest.mark.parametrize("value", [None, 5, ["rnn"]])
def test_a_choice_that_is_no_text_is_damaged(tmp_path: Path, value: object):
    runs.write(record(), tmp_path)
    change(tmp_path, choices={"model": value})
    with pytest.raises(DamagedRecord, match="choices: found a value that is no text"):
        runs.read(tmp_path)


def test_a_record_is_frozen_and_a_change_is_a_new_one():
    first = record(status="running")
    with pytest.raises(dataclasses.FrozenInstanceError):
        first.status = "done"  # type: ignore[misc]
    assert dataclasses.replace(first, status="done").status == "done"


# -- atomic writes -----------------------------------------------------------------------------------


def test_a_writer_that_fails_leaves_the_old_file_and_nothing_beside_it(tmp_path: Path):
    runs.write(record(), tmp_path)

    def half(file) -> None:
        file.write("half of a rec")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        runs.replace_atomically(tmp_path / runs.RECORD, half)
    assert runs.read(tmp_path) == record()
    assert os.listdir(tmp_path) == [runs.RECORD]


def test_until_it_is_whole_the_old_file_is_what_others_read(tmp_path: Path):
    runs.write(record(status="running"), tmp_path)

    def look(file) -> None:
        file.write("half of a rec")
        file.flush()
        assert runs.read(tmp_path).status == "running"
        assert list(runs.find([tmp_path])) == [tmp_path]

    runs.replace_atomically(tmp_path / runs.RECORD, look)
    assert (tmp_path / runs.RECORD).read_text() == "half of a rec"


def test_what_can_not_be_written_as_json_leaves_the_old_record(tmp_path: Path):
    runs.write(record(), tmp_path)
    with pytest.raises(TypeError):
        runs.write(record(config={"model": object()}), tmp_path)
    assert runs.read(tmp_path) == record()
    assert os.listdir(tmp_path) == [runs.RECORD]


def test_others_may_read_what_the_umask_lets_them(tmp_path: Path):
    before = os.umask(0o022)
    try:
        runs.write(record(), tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / runs.RECORD).stat().st_mode) == 0o644


# -- tables ------------------------------------------------------------------------------------------


def table(rows: int = 5) -> np.ndarray:
    made = np.zeros(rows, dtype=[("step", "i8"), ("layer", "i2"), ("hidden", "f8"), ("fired", "?")])
    made["step"], made["hidden"] = np.arange(rows), [1e-300, 0.0, np.nan, np.inf, 1 / 3][:rows]
    return made


@pytest.mark.parametrize("rows", [0, 1, 5])
def test_a_table_comes_back_equal(tmp_path: Path, rows: int):
    runs.write_table(tmp_path, "adjoint", table(rows))
    back = runs.read_table(tmp_path, "adjoint")
    assert back is not None
    assert back.dtype == table(rows).dtype
    assert back.tobytes() == table(rows).tobytes()


def test_a_probe_that_left_no_table_has_none(tmp_path: Path):
    assert runs.read_table(tmp_path, "adjoint") is None


def test_a_table_cut_off_anywhere_is_damaged_and_nothing_else(tmp_path: Path):
    runs.write_table(tmp_path, "adjoint", table())
    path = tmp_path / "probes" / "adjoint.npy"
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedRecord, match=r"adjoint\.npy: damaged"):
            runs.read_table(tmp_path, "adjoint")


@pytest.mark.parametrize("array", [np.zeros(3), np.zeros((2, 2), dtype=[("step", "i8")]), np.array(3.0)])
def test_an_array_that_is_no_table_is_damaged(tmp_path: Path, array: np.ndarray):
    runs.write_table(tmp_path, "adjoint", array)
    with pytest.raises(DamagedRecord, match="expected a table with named columns"):
        runs.read_table(tmp_path, "adjoint")


def test_a_pickle_is_never_loaded(tmp_path: Path):
    path = tmp_path / "probes" / "adjoint.npy"
    path.parent.mkdir()
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(DamagedRecord):
        runs.read_table(tmp_path, "adjoint")


@pytest.mark.parametrize(
    "dtype",
    [[("step", "i8"), ("x", "O")], [("step", "i8"), ("x", "S3")], [("step", "f8")], [("step", "U3")], [("x", "M8[s]")]],
)
def test_a_table_of_something_else_than_numbers_and_texts_is_damaged(tmp_path: Path, dtype: list):
    path = tmp_path / "probes" / "adjoint.npy"
    path.parent.mkdir()
    np.save(path, np.zeros(2, dtype=dtype), allow_pickle=True)
    with pytest.raises(DamagedRecord, match="damaged"):
        runs.read_table(tmp_path, "adjoint")


def test_a_header_that_asks_for_more_than_the_file_holds_is_damaged(tmp_path: Path):
    runs.write_table(tmp_path, "adjoint", table())
    path = tmp_path / "probes" / "adjoint.npy"
    path.write_bytes(path.read_bytes().replace(b"(5,)", b"(9" + b"9" * 12 + b",)").replace(b" " * 12, b"", 1))
    with pytest.raises(DamagedRecord, match="damaged"):
        runs.read_table(tmp_path, "adjoint")


def test_a_negative_step_is_damaged(tmp_path: Path):
    rows = table()
    rows["step"] = -1
    runs.write_table(tmp_path, "adjoint", rows)
    with pytest.raises(DamagedRecord, match="column step"):
        runs.read_table(tmp_path, "adjoint")


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("sign", [0x110000, 0xFFFFFFFF, 0xD800])
def test_text_of_what_are_no_signs_is_damaged(tmp_path: Path, sign: int, order: str):
    """Python itself ends in a SystemError where it meets one, far from where it was read."""
    rows = np.array([("test", 1.0), ("test", 2.0)], dtype=[("set", f"{order}U4"), ("loss", "<f8")])
    runs.write_table(tmp_path, "answers", rows)
    whole = runs.read_table(tmp_path, "answers")
    assert whole is not None
    assert whole["set"].tolist() == ["test", "test"]
    path = tmp_path / "probes" / "answers.npy"
    odd = sign.to_bytes(4, "little" if order == "<" else "big")
    path.write_bytes(path.read_bytes()[: -rows.itemsize] + odd + path.read_bytes()[-rows.itemsize + 4 :])
    with pytest.raises(DamagedRecord, match="column set: found bytes that are no text"):
        runs.read_table(tmp_path, "answers")


def test_a_field_of_metrics_too_long_for_csv_is_damaged(tmp_path: Path):
    (tmp_path / "metrics.csv").write_text(HEAD + "1,0,train,2.3," + "9" * 200_000 + "\n")
    with pytest.raises(DamagedRecord, match="field limit"):
        read_metrics(tmp_path)


# -- metrics and folders -----------------------------------------------------------------------------

HEAD = "step,epoch,split,loss,accuracy\n"


@pytest.mark.parametrize(
    ("text", "steps"),
    [
        (HEAD + "1,0,train,2.3,0.1\n2,0,val,2.2,0.2\n", ["1", "2"]),
        (HEAD + "1,0,train,2.3,0.1\n2,0,val,2.", ["1"]),  # killed while writing
        (HEAD + "1,0,train,2.3,0.1\n2,0,val,2.2,0.2", ["1"]),  # whole, but for all one knows 0.25
        (HEAD + "1,0,trai2,0,val,2.2,0.2\n3,0,val,2,0.3\n", ["3"]),  # killed, then resumed
        (HEAD + "1,0,train\n2,0,val,2.2,0.2\n", ["2"]),
        (HEAD, []),
        ("step,ep", []),
        ("", []),
    ],
)
def test_only_whole_rows_of_metrics_are_read(tmp_path: Path, text: str, steps: list[str]):
    (tmp_path / "metrics.csv").write_text(text)
    assert [row["step"] for row in read_metrics(tmp_path)] == steps


def test_metrics_that_can_not_be_read_are_damaged(tmp_path: Path):
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(DamagedRecord, match=r"metrics\.csv: damaged"):
        read_metrics(tmp_path)


READERS: dict[str, Callable[[Path], object]] = {
    "run.json": runs.read,
    "metrics.csv": read_metrics,
    "encoding.json": encoding.read,
    "probes/clipping.npy": lambda folder: runs.read_table(folder, "clipping"),
    "checkpoint.ckpt": lambda folder: checksum.check(folder / "checkpoint.ckpt"),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_or_device_in_place_of_a_file_is_refused_and_not_waited_for(tmp_path: Path, name: str):
    path = tmp_path / name
    path.parent.mkdir(exist_ok=True)
    os.mkfifo(path)
    signal.signal(signal.SIGALRM, lambda *_: pytest.fail("waited"))
    try:
        signal.setitimer(signal.ITIMER_REAL, 1)
        with pytest.raises((DamagedRecord, OSError), match="not a file"):
            READERS[name](tmp_path)
        path.unlink()
        path.symlink_to("/dev/zero")
        with pytest.raises((DamagedRecord, OSError), match="not a file"):
            READERS[name](tmp_path)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def test_a_run_without_metrics_has_no_rows(tmp_path: Path):
    assert read_metrics(tmp_path) == []


def test_every_run_below_is_found_once_in_order(tmp_path: Path):
    folders = [tmp_path / name for name in ("b", "a/2", "a/1", ".")]
    for folder in folders:
        runs.write(record(), folder)
    (tmp_path / "a" / ".run.json.0123").write_text("left by a killed write")
    found = list(runs.find([tmp_path / "a", tmp_path, tmp_path / "b"]))
    assert found == [tmp_path / "a/1", tmp_path / "a/2", tmp_path / "b", tmp_path]


def test_nothing_is_found_where_nothing_is(tmp_path: Path):
    assert list(runs.find([tmp_path, tmp_path / "absent"])) == []


def test_integers_that_no_int64_holds_are_written_as_what_is_read_again() -> None:
    assert runs.plain({"a": 10**22, "b": [-(2**63), 2**63 - 1], "c": True}) == {
        "a": 1e22,
        "b": [-(2**63), 2**63 - 1],
        "c": True,
    }
    assert runs.plain(10**400) == str(10**400)


def test_a_group_that_could_not_be_chosen_before_has_what_runs_did(tmp_path: Path) -> None:
    """In a record of the command line's; one from a notebook names no options."""
    for choices, expected in (
        ({"optimizer": "adam"}, {"scheduler": "none", "optimizer": "adam"}),
        ({"optimizer": "adam", "scheduler": "step"}, {"scheduler": "step", "optimizer": "adam"}),
        ({}, {}),
    ):
        folder = tmp_path / str(len(choices))
        runs.write(record(choices=choices), folder)
        assert runs.read(folder).choices == expected
