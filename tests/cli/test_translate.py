"""rnn-translate, from a run's folder alone: the same whatever the batch, its score, and what is refused."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
from files_text import sentences

from rnn_research import load
from rnn_research.cli import predict, translate
from rnn_research.config.compose import Composer
from rnn_research.config.run_one import run_one
from rnn_research.datasets.text.parallel import ParallelText
from rnn_research.models.searching import SequenceWriter, search
from rnn_research.records import runs
from rnn_research.training.translated import thirds

SMALL = ("model=gru", "hidden_size=32", "model.embedding_size=16", "dataset.batch_size=16", "optimizer.lr=0.02")


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The folders of a run, and of its files."""
    folder = tmp_path_factory.mktemp("translate")
    for name, side in (("a.txt", 0), ("b.txt", 1)):
        (folder / name).write_text("".join(f"{pair[side]}\n" for pair in sentences(120)), encoding="utf-8")
    typed = ["dataset=parallel_text", f"dataset.path={folder / 'a.txt'}", f"dataset.target_path={folder / 'b.txt'}"]
    typed += [*SMALL, "probe=none", "trainer.max_steps=150", "trainer.max_epochs=-1", "model.bidirectional=true"]
    assert run_one(Composer().run(typed), folder / "run").status == "done"
    return folder / "run", folder


def called(capsys: pytest.CaptureFixture[str], *arguments: object, code: int = 0) -> tuple[list[str], str]:
    assert translate.main([str(one) for one in arguments]) == code
    out, err = capsys.readouterr()
    return out.splitlines(), err


def test_a_line_gives_a_line_whatever_the_batch(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained
    read = [pair[0] for pair in sentences(120)[:60]]
    (source := tmp_path / "in.txt").write_text("\n".join([*read[:20], "", "  ", "zebra", *read[20:]]), encoding="utf-8")
    found, _ = called(capsys, folder, source)
    assert len(found) == 63
    assert found[20:22] == ["", ""]
    right = [one == pair[1] for one, pair in zip([*found[:20], *found[23:]], sentences(120)[:60], strict=True)]
    assert sum(right) > 30
    assert called(capsys, folder, source, "--batch-size", 3)[0] == found
    monkeypatch.setattr(sys, "stdin", io.StringIO(source.read_text(encoding="utf-8")))
    assert called(capsys, folder)[0] == found
    out = tmp_path / "out.txt"
    assert called(capsys, folder, source, "--out", out)[0] == []
    assert out.read_text(encoding="utf-8").splitlines() == found
    narrow, _ = called(capsys, folder, source, "--beam", 1, "--length-penalty", 0)
    run = load(folder)
    batch = run.layout.collate([run.encoder.encode(one) for one in read])
    most = [2 * len(run.encoder.segmenter.split(one)) + 10 for one in read]
    greedy = search(SequenceWriter(run.model), batch, most, forbidden=[1])
    assert [run.encoder.decode(one.classes) for one in greedy] == [*narrow[:20], *narrow[23:]]


def test_a_score_has_its_signature(trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str]) -> None:
    sacrebleu = pytest.importorskip("sacrebleu")
    folder, files = trained
    found, err = called(capsys, folder, files / "a.txt", "--reference", files / "b.txt")
    wanted = sacrebleu.corpus_bleu(found, [[pair[1] for pair in sentences(120)]]).score
    assert f"BLEU {wanted:.2f} (nrefs:1|case:mixed" in err
    assert "chrF" in err
    assert f"version:{sacrebleu.__version__}" in err


def test_the_test_part_gives_exactly_what_was_recorded(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("sacrebleu")
    folder, files = trained
    record = runs.read(folder)
    data = ParallelText(str(files / "a.txt"), str(files / "b.txt"))
    data.task  # noqa: B018
    for side, name in enumerate(("source", "target")):
        texts = [pair[side] for pair in data.texts("test") or ()]
        assert len(texts) == len(data.samples("test"))
        (tmp_path / name).write_text("".join(f"{text}\n" for text in texts), encoding="utf-8")
    _, err = called(capsys, folder, tmp_path / "source", "--reference", tmp_path / "target", "--batch-size", 5)
    assert f"BLEU {record.final['test_bleu']:.2f} ({record.actual['bleu'].partition('|beam')[0]})" in err
    assert f"chrF {record.final['test_chrf']:.2f} ({record.actual['chrf'].partition('|beam')[0]})" in err
    assert "|beam:5|length_penalty:1" in record.actual["bleu"]
    read, written = ((tmp_path / name).read_text(encoding="utf-8").splitlines() for name in ("source", "target"))
    split = load(folder).encoder.segmenter.split
    for third, lengths, of_it in thirds([len(split(text)) for text in read]):
        for name, lines in (("source", read), ("target", written)):
            (tmp_path / f"{third}_{name}").write_text("".join(f"{lines[one]}\n" for one in of_it), encoding="utf-8")
        _, err = called(capsys, folder, tmp_path / f"{third}_source", "--reference", tmp_path / f"{third}_target")
        assert f"BLEU {record.final[f'test_bleu_{third}']:.2f} " in err
        assert record.actual[f"bleu_{third}"] == f"of {lengths} tokens in the source"


def test_thirds_keep_texts_of_one_length_together() -> None:
    assert list(thirds([7, 1, 2, 2, 9, 3])) == [
        ("short", "1 to 2", [1, 2, 3]),
        ("middle", "3", [5]),
        ("long", "4 to 9", [0, 4]),
    ]
    assert list(thirds([5, 5, 5, 5])) == list(thirds([4, 4, 4, 5])) == list(thirds([3])) == []


def test_without_sacrebleu_it_is_said(
    trained: tuple[Path, Path], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    monkeypatch.setitem(sys.modules, "sacrebleu.metrics", None)
    folder, files = trained
    out, err = called(capsys, folder, files / "a.txt", "--reference", files / "b.txt", code=2)
    assert out == []
    told = 'sacrebleu: not installed, expected for BLEU; run pip install "rnn_research[translation]"'
    assert err == f"rnn-translate: error: {told}\n"


def test_mistakes_are_one_line(
    trained: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, files = trained
    (bad := tmp_path / "bad.txt").write_bytes(b"\xe9\n")
    for arguments, told in (
        ((tmp_path / "none",), "none: no such folder, expected a run's; check the path"),
        ((folder, tmp_path / "none.txt"), "can't read"),
        ((folder, bad), "bad.txt, line 1: found bytes that are not utf-8"),
        ((folder, files / "a.txt", "--beam", 0), "beam: given 0"),
        ((folder, files / "a.txt", "--beam", 10**6), "beam: given 1000000, expected an integer from 1 to 1000"),
        ((folder, files / "a.txt", "--length-penalty", 1e308), "length_penalty: given 1e+308"),
        ((folder, files / "a.txt", "--length-penalty", -1), "length_penalty: given -1"),
        ((folder, files / "a.txt", "--batch-size", 0), "batch_size: given 0"),
    ):
        _, err = called(capsys, *arguments, code=2)
        assert err.startswith("rnn-translate: error: ")
        assert told in err
        assert err.count("\n") == 1
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a\n\xe9\n"), encoding="utf-8"))
    assert "-: found bytes that are not utf-8" in called(capsys, folder, code=2)[1]
    assert predict.main([str(folder), str(files / "a.txt")]) == 2
    assert "use rnn-translate" in capsys.readouterr().err


def test_a_run_of_something_else_translates_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = ["hidden_size=4", "trainer.max_steps=1", "trainer.max_epochs=-1", "probe=none", "dataset.train_size=8"]
    small += ["dataset.val_size=4", "dataset.test_size=4"]
    run_one(Composer().run(["dataset=copy_tokens", *small]), tmp_path / "run")
    _, err = called(capsys, tmp_path / "run", __file__, code=2)
    assert "were generated" in err
