"""Runs in one archive: what is in it, that it is safe to unpack, and that runs from several compare as one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from folders import write_run

from rnn_research.cli import sweep_folder
from rnn_research.compare import as_json, compare
from rnn_research.sweeps import claims
from rnn_research.sweeps.export import contents, pack


def names(archive: Path) -> list[str]:
    with ZipFile(archive) as file:
        assert file.testzip() is None
        return sorted(file.namelist())


def a_run(folder: Path, seed: int = 0, **changes: object) -> Path:
    write_run(folder, seed=seed, **changes)  # type: ignore[arg-type]
    (folder / "encoding.json").write_text("{}")
    for name in ("checkpoint.ckpt", "best.ckpt", "checkpoint.previous.ckpt", "run.log"):
        (folder / name).write_bytes(b"weights")
    return folder


def test_what_is_packed(tmp_path: Path) -> None:
    sweep = tmp_path / "a sweep, ü"
    a_run(sweep / "one" / "0")
    (sweep / "queue").mkdir()
    (sweep / "queue" / "0.json").write_text("{}")
    pack(contents(sweep), tmp_path / "small.zip")
    below = f"{sweep.name}/one/0"
    small = [f"{below}/{name}" for name in ("encoding.json", "metrics.csv", "probes/adjoint.npy")]
    small += [f"{below}/{name}" for name in ("probes/clipping.npy", "run.json")]
    assert names(tmp_path / "small.zip") == small
    pack(contents(sweep, checkpoints=True), tmp_path / "whole.zip")
    more = [f"{below}/best.ckpt", f"{below}/checkpoint.ckpt", f"{sweep.name}/queue/0.json"]
    assert names(tmp_path / "whole.zip") == sorted([*small, *more])
    os.utime(sweep / "one" / "0" / "run.json", (0, 0))
    pack(contents(sweep), tmp_path / "again.zip")
    assert (tmp_path / "again.zip").read_bytes() == (tmp_path / "small.zip").read_bytes()


def test_what_is_packed_comes_out_as_it_was(tmp_path: Path) -> None:
    run = a_run(tmp_path / "s" / "0")
    pack(contents(tmp_path / "s"), tmp_path / "s.zip")
    with ZipFile(tmp_path / "s.zip") as file:
        file.extractall(tmp_path / "there")
    for path in (path for path in (tmp_path / "there" / "s" / "0").rglob("*") if path.is_file()):
        assert path.read_bytes() == (run / path.relative_to(tmp_path / "there" / "s" / "0")).read_bytes()


def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """A stranger's folder would have a private file packed, and sent to others."""
    run, other = a_run(tmp_path / "s" / "0"), a_run(tmp_path / "other" / "1", seed=1)
    (tmp_path / "private").write_text("private")
    (run / "metrics.csv").unlink()
    (run / "metrics.csv").symlink_to(tmp_path / "private")
    for path in (run / "probes").iterdir():
        path.unlink()
    (run / "probes").rmdir()
    (run / "probes").symlink_to(other / "probes")
    (tmp_path / "s" / "1").symlink_to(other)
    found = contents(tmp_path / "s")
    assert [name for _, name in found.files] == ["s/0/run.json", "s/0/encoding.json"]
    assert found.left_out == {"a link to another folder": ["1"]}


def test_runs_that_train_or_are_damaged_are_left_out_and_said(tmp_path: Path) -> None:
    a_run(tmp_path / "s" / "0")
    running = a_run(tmp_path / "s" / "1", seed=1, status="running")
    a_run(tmp_path / "s" / "2", seed=2, status="running")  # its process is gone
    (a_run(tmp_path / "s" / "3") / "run.json").write_text("{")
    with claims.claimed(running):
        found = contents(tmp_path / "s")
    assert found.runs == 2
    assert found.left_out.pop("running") == ["1"]
    ((reason, damaged),) = found.left_out.items()
    assert (damaged, reason.startswith("damaged (")) == (["3"], True)


def without_folders(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: without_folders(value) for key, value in found.items() if key not in ("folder", "run")}
    return [without_folders(item) for item in found] if isinstance(found, list) else found


def test_runs_of_several_archives_compare_as_those_of_one_folder(tmp_path: Path) -> None:
    for number in range(6):
        for top in ("whole", f"half{number // 3}"):
            a_run(tmp_path / top / str(number), seed=number // 2, threshold=(None, 1.0)[number % 2])
    for half in ("half0", "half1"):
        pack(contents(tmp_path / half), tmp_path / f"{half}.zip")
        with ZipFile(tmp_path / f"{half}.zip") as file:
            file.extractall(tmp_path / "there")
    parts = as_json(compare([tmp_path / "there" / "half0", tmp_path / "there" / "half1"]))
    assert without_folders(parts) == without_folders(as_json(compare([tmp_path / "whole"])))
    assert len(parts["conditions"]) == 2


@pytest.mark.parametrize("out", ["given.zip", None])
def test_the_command(
    out: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.chdir(tmp_path)
    a_run(tmp_path / "s" / "0")
    arguments = ["export", "s", *([out] if out else [])]
    with pytest.raises(SystemExit) as ended:
        sweep_folder.main(arguments)
    where = Path(out) if out else tmp_path / "s.zip"
    assert (ended.value.code, where.is_file()) == (0, True)
    assert capsys.readouterr().out.startswith("1 run (5 files, ")
    before = where.read_bytes()
    with pytest.raises(SystemExit) as ended:
        sweep_folder.main(arguments)
    assert ended.value.code == 2
    assert (
        capsys.readouterr().err == f"rnn-sweep: {where}: is there already, nothing was written over; give another OUT\n"
    )
    assert where.read_bytes() == before


def test_what_can_t_be_written_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    a_run(tmp_path / "s" / "0")
    for out, said in ((tmp_path / "no" / "x.zip", "its folder is not there"), ("/proc/x.zip", "can't be written (")):
        with pytest.raises(SystemExit) as ended:
            sweep_folder.main(["export", str(tmp_path / "s"), str(out)])
        assert ended.value.code == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert line.startswith(f"rnn-sweep: {out}: {said}")
    assert not (tmp_path / "no").exists()


def test_a_full_disk_leaves_nothing(tmp_path: Path) -> None:
    """As a limit of a file's size: whoever unpacked half an archive would compare half of the runs."""
    a_run(tmp_path / "s" / "0")
    script = "import resource, signal; from rnn_research.cli.sweep_folder import main; "
    script += "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (999, 999)); "
    done = subprocess.run([sys.executable, "-c", f"{script}main(['export', 's'])"], cwd=tmp_path, capture_output=True)
    assert done.returncode == 2
    said = f"rnn-sweep: {tmp_path / 's.zip'}: can't be written (File too large); give another OUT\n"
    assert done.stderr.decode() == said
    assert [path.name for path in tmp_path.iterdir()] == ["s"]


def test_nothing_to_pack_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        sweep_folder.main(["export", str(tmp_path)])
    assert ended.value.code == 2
    assert "no run.json at or below it" in capsys.readouterr().err
    assert not tmp_path.with_name(f"{tmp_path.name}.zip").exists()


def test_out_may_stand_after_an_option(tmp_path: Path) -> None:
    a_run(tmp_path / "s/0")
    out = tmp_path / "x.zip"
    with pytest.raises(SystemExit, match="0"):
        sweep_folder.main(["export", str(tmp_path / "s"), "--checkpoints", str(out)])
    assert "s/0/checkpoint.ckpt" in names(out)
