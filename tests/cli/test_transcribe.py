"""rnn-predict of transcripts, from a run's folder alone: what was recorded, whatever the batch; what is refused."""

from __future__ import annotations

import csv
import io
import json
import shutil
from pathlib import Path

import pytest
from files_audio import transcripts

from rnn_research.cli import predict, translate
from rnn_research.config.compose import Composer
from rnn_research.config.run_one import run_one
from rnn_research.records import runs

SMALL = ("model=gru", "hidden_size=16", "optimizer.lr=0.03", "dataset.batch_size=8", "dataset.windows_per_step=4")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A copy of the folder of a run, and the recordings that tested it with their manifest."""
    folder = tmp_path_factory.mktemp("transcribe")
    manifest = transcripts(folder, 48)
    typed = ["dataset=audio_transcripts", f"dataset.path={manifest}", *SMALL]
    typed += ["probe=none", "trainer.max_steps=120", "trainer.max_epochs=-1", "model.bidirectional=true"]
    record = run_one(Composer().run(typed), folder / "run")
    assert record.status == "done"
    lines = manifest.read_text().splitlines()
    tested = [lines[0].removesuffix(",split"), *(one.removesuffix(",test") for one in lines if one.endswith(",test"))]
    (folder / "test.csv").write_text("\n".join(tested))
    return shutil.copytree(folder / "run", folder / "elsewhere"), folder / "test.csv"


def called(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[str, str]:
    assert predict.main([str(one) for one in arguments]) == code
    return capsys.readouterr()


def test_what_is_written_is_what_was_recorded(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, manifest = trained
    out, err = called(capsys, folder, manifest)
    rows = list(csv.DictReader(io.StringIO(out)))
    final = runs.read(folder).final
    assert final["test_character_error_rate"] < 0.5
    wrong, length = (sum(int(row["edits"]) for row in rows), sum(len(row["label"]) for row in rows))
    assert wrong / length == pytest.approx(final["test_character_error_rate"], rel=1e-12)
    said = f"character_error_rate {wrong / length:.6g}, accuracy {final['test_accuracy']:.6g}, {len(rows)} recordings"
    assert said in err
    assert called(capsys, folder, manifest, "--batch-size", 1)[0] == out
    objects = [json.loads(line) for line in called(capsys, folder, manifest, "--format", "jsonl")[0].splitlines()]
    assert [one["prediction"] for one in objects] == [row["prediction"] for row in rows]
    alone, err = called(capsys, folder, rows[0]["where"])
    assert next(csv.DictReader(io.StringIO(alone)))["prediction"] == rows[0]["prediction"]
    assert not err


def test_a_search_is_no_worse_by_much_and_does_not_depend_on_the_batch(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, manifest = trained
    out, err = called(capsys, folder, manifest, "--beam", 8)
    assert called(capsys, folder, manifest, "--beam", 8, "--batch-size", 2) == (out, err)
    assert float(err.split()[2].rstrip(",")) < 0.5


def test_what_has_no_meaning_is_one_line(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    folder, manifest = trained
    for arguments, told in (
        ((folder, manifest, "--beam", -1), "beam: given -1"),
        ((folder, manifest, "--beam", 10**5), "beam: given 100000, expected an integer from 0 to 1000"),
        ((folder, manifest.with_name("none.wav")), "which is not there"),
        ((folder, manifest, "--probabilities"), "--probabilities"),
    ):
        out, err = called(capsys, *arguments, code=2)
        assert told in err
        assert err.count("\n") == 1
        assert not out or out.startswith("where,")
    assert translate.main([str(folder), str(manifest)]) == 2
    assert "translates nothing" in capsys.readouterr().err
