"""A trained model from its run's folder alone: what it says of files is what was recorded of them."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from files import files_for
from files_split import SPLIT
from omegaconf import OmegaConf

from rnn_research import load
from rnn_research.cli import generate, predict
from rnn_research.config.compose import Composer
from rnn_research.config.instantiate import instantiate_node
from rnn_research.config.run_one import run_one
from rnn_research.config.trained import TrainedRun
from rnn_research.datasets.base import DataModule
from rnn_research.errors import UsageError
from rnn_research.models.scoring import Score
from rnn_research.records import checksum, encoding, runs

SMALL = ("hidden_size=6", "trainer.max_steps=3", "trainer.max_epochs=-1", "probe=none", "dataset.batch_size=5")
READ: dict[str, tuple[list[str], str]] = {
    "series": ([], ""),
    "japanese_vowels": ([], "JapaneseVowels_TEST.ts"),
    "skeleton_actions": ([], ""),
    "sequential_mnist": (["dataset.by=row"], "t10k-images-idx3-ubyte"),
    "audio_folder": (["dataset.rate=8000", "model.bidirectional=true"], ""),
    "spoken_digits": ([], "*_[0-4].wav"),
    "frame_folder": (["dataset.height=8", "dataset.width=8"], ""),
    "trec": ([], "TREC_10.label"),
    "sms_spam": ([], "SMSSpamCollection"),
    "labelled_text": (["model.pooling=attention", "dataset.class_weights=balanced"], ""),
    "sst": (["model=child_sum_tree_lstm"], "test.txt"),
    "ptb_trees": (["model=child_sum_tree_lstm"], ""),
    "json_trees": (["model=child_sum_tree_lstm", "structure=balanced", "dataset.labels=nodes"], ""),
    "python_ast": (["model=child_sum_tree_lstm"], ""),
}
"""Data that are read from files: options to train with, and the file to predict, in the folder of the tiny ones; of
one's own data the test part's (see `files_split`)."""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., tuple[Path, Path]]:
    """Trains on the tiny files of an option. Returns the run's folder, and that of the files."""
    made: dict[tuple[str, ...], tuple[Path, Path]] = {}

    def train(option: str, *typed: str) -> tuple[Path, Path]:
        key = (option, *typed)
        if key not in made:
            above = tmp_path_factory.mktemp(option)
            first = Composer().run([f"dataset={option}"])
            given = files_for(first.config.dataset, above / "data")
            (root,) = [Path(value) for name, value in given.items() if name in ("dataset.root", "dataset.path")]
            if option in SPLIT:
                (folder := above / "parts").mkdir()
                given["dataset.path"] = str(folder)
                root = SPLIT[option](root, folder)
            asked = [f"dataset={option}", "model=gru", *SMALL, *(f"{k}={v}" for k, v in given.items()), *typed]
            record = run_one(Composer().run(asked), above / "run")
            assert record.status == "done"
            made[key] = above / "run", root if root.is_dir() or option in SPLIT else root.parent
        return made[key]

    return train


def predicted(arguments: list[Any], capsys: pytest.CaptureFixture[str]) -> tuple[list[dict[str, str]], str]:
    """The rows that the command prints, and what it says beside."""
    assert predict.main([str(one) for one in arguments]) == 0
    out, err = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(out))), err


def data_of(record: runs.RunRecord) -> DataModule:
    """A run's data, loaded again from where they lie."""
    made: DataModule = instantiate_node(OmegaConf.create(record.config["dataset"]), "dataset", DataModule)
    return made


@pytest.mark.parametrize("option", READ)
def test_predictions_are_those_that_were_recorded(
    option: str, trained: Callable[..., tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine, without the data: from a copy of the run's folder, one item or several at a time."""
    typed, name = READ[option]
    folder, root = trained(option, *typed)
    copy = shutil.copytree(folder, tmp_path / "elsewhere")
    files = sorted(root.glob(name)) if "*" in name else [root / name]
    rows, said = predicted([copy, *files, "--probabilities", "--batch-size", 7], capsys)
    alone, _ = predicted([copy, *files, "--probabilities", "--batch-size", 1], capsys)
    assert rows == alone
    for row in rows:
        shares = {key.removeprefix("p_"): float(value) for key, value in row.items() if key.startswith("p_")}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-5)
        assert row["prediction"] == max(shares, key=lambda one: shares[one])
    answers, record = runs.read_table(folder, runs.ANSWERS), runs.read(folder)
    assert answers is not None
    classes = record.data["classes"]
    recorded = [(classes[int(one["true"])], classes[int(one["predicted"])]) for one in answers if one["set"] == "test"]
    found = [(row["label"], row["prediction"]) for row in rows]
    measured = {name: value for name, value in record.final.items() if name.startswith("test_")}
    if option in ("sms_spam", "skeleton_actions"):  # the file holds the other splits too
        assert not [one for one in set(recorded) if found.count(one) < recorded.count(one)]
        score, run = Score(load(folder).model), load(folder)
        for one in run._answered(data_of(record).samples("test"))[1]:
            score.add(one)
        assert {f"test_{name}": value for name, value in score.measured().items()} == pytest.approx(measured, rel=1e-5)
        return
    assert found == recorded
    told = dict(part.split() for part in said.removeprefix("rnn-predict: ").split(", ")[: len(measured)])
    assert {f"test_{name}" for name in told} == set(measured)
    assert float(told.pop("loss")) == pytest.approx(measured["test_loss"], rel=1e-5)
    assert told == {name: f"{measured[f'test_{name}']:.6g}" for name in told}


def test_trees_with_labels_at_nodes_are_scored_at_nodes(
    trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    """The loss is the mean over labelled nodes, each counted by hand."""
    folder, part = trained("ptb_trees", *READ["ptb_trees"][0])
    run = load(folder)
    score, items = Score(run.model), list(run.needed_encoder().items(part))
    losses, right = [], []
    for one in run.predict(items, batch_size=5):
        assert one.scored is not None
        assert one.scored.positions is not None
        score.add(one.scored)
        said, targets = one.scored.positions
        losses += one.scored.losses.tolist()
        right += (said == targets).tolist()
    assert len(losses) == sum(label is not None for item in items for label in item.raw.labels) > 2 * len(items)
    measured = score.measured()
    assert measured["loss"] == pytest.approx(np.mean(losses), rel=1e-12)
    assert measured["position_accuracy"] == pytest.approx(np.mean(right), rel=1e-6)
    assert run.record.final["test_position_accuracy"] == pytest.approx(np.mean(right), rel=1e-6)
    assert one.loss == pytest.approx(float(one.scored.losses.mean()), rel=1e-12)


def test_json_holds_the_same(trained: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str]) -> None:
    folder, root = trained("trec")
    rows, _ = predicted([folder, root / "TREC_10.label"], capsys)
    assert predict.main([str(folder), str(root / "TREC_10.label"), "--format", "jsonl", "--probabilities"]) == 0
    objects = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["where"], one["prediction"], one["label"]) for one in objects] == [
        (row["where"], row["prediction"], row["label"]) for row in rows
    ]
    assert all(sum(one["probabilities"].values()) == pytest.approx(1, abs=1e-5) for one in objects)


def test_lines_of_the_standard_input_are_read(
    trained: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _ = trained("trec")
    monkeypatch.setattr("sys.stdin", io.StringIO("Who is it ?\n\nWhere ?\n"))
    rows, said = predicted([folder, "-"], capsys)
    assert [row["where"] for row in rows] == ["line 1", "line 3"]
    assert "accuracy" not in said


def test_items_are_read_as_they_come(trained: Callable[..., tuple[Path, Path]]) -> None:
    folder, _ = trained("trec")
    taken = []

    def texts() -> Iterator[str]:
        for number in range(1000):
            taken.append(number)
            yield f"What is {number} ?"

    next(load(folder).predict(texts(), batch_size=2))
    assert len(taken) == 2


# What is refused.


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["RUN", "no-such-file"], "no-such-file"),
        (["no-such-run", "FILE"], "no-such-run: no such folder, expected a run's; check the path"),
        (["FILE", "FILE"], "TREC_10.label: no such folder, expected a run's"),
        (["DATA", "FILE"], "has no run.json, expected a run's folder; check the path"),
        (["ABOVE", "FILE"], "has no run.json, expected a run's folder; give one of the 1 runs in it, such as"),
        (["RUN", "FILE", "--weights", "worst"], "weights: given 'worst', expected one of measured, best, last"),
        (["RUN", "FILE", "--batch-size", "0"], "--batch-size: given 0"),
        (["RUN", "FILE", "--batch-size", str(10**20)], "batch_size: given 1000000000"),
        (["RUN", "FILE", "--out", "FILE"], "it is there already"),
        (["RUN"], "the following arguments are required: FILE"),
    ],
)
def test_mistakes_are_one_line(
    arguments: list[str], said: str, trained: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = trained("trec")
    names = {"RUN": str(folder), "FILE": str(root / "TREC_10.label"), "DATA": str(root), "ABOVE": str(folder.parent)}
    assert predict.main([names.get(one, one) for one in arguments]) == 2
    err = capsys.readouterr().err
    assert said in err
    assert err.count("\n") == 1


def changed(folder: Path, copy: Path, **values: Any) -> Path:
    """A copy of a run whose record has other values, by dotted key."""
    shutil.copytree(folder, copy)
    raw = json.loads((copy / runs.RECORD).read_text())
    for key, value in values.items():
        node = raw
        *above, last = key.split("__")
        for one in above:
            node = node[one]
        node[last] = value
    (copy / runs.RECORD).write_text(json.dumps(raw))
    return copy


@pytest.mark.parametrize("target", ["os.system", "pandas.read_pickle", "pathlib.Path.unlink", "subprocess.Popen"])
def test_a_strangers_config_executes_nothing(
    target: str, trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    folder, _ = trained("trec")
    for number, key in enumerate(
        ("config__model___target_", "config__model__cell___target_", "config__architecture___target_")
    ):
        with pytest.raises(UsageError, match=f"given '{target}'"):
            load(changed(folder, tmp_path / str(number), **{key: target}))


def test_what_is_to_be_trusted_is_said_as_the_command_takes_it(
    trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    other = changed(trained("trec")[0], tmp_path / "own", config__model__cell___target_="cells_mine.Mine")
    with pytest.raises(UsageError, match=r"add --trust cells_mine on the command line$"):
        load(other)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("actual__hidden_sizes", value) for value in ({"": 1}, ".inf", [1e400], [{"": 1}], ["x"], [0], 5, [2**40])),
        *(("config__model", value) for value in ("x", [None], None)),
        ("config", {"": 1}),
        ("config__model__num_layers", 2**31),
        ("config__architecture", "x"),
    ],
)
def test_what_anyone_may_have_written_of_the_model_is_refused(
    key: str, value: Any, trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    """In one line and at once."""
    with pytest.raises(UsageError, match=r"run\.json") as error:
        load(changed(trained("trec")[0], tmp_path / "other", **{key: value}))
    assert "\n" not in str(error.value)


class Executed:
    def __reduce__(self) -> Any:
        return os.mkdir, ("executed",)


def test_a_strangers_weights_execute_nothing(trained: Callable[..., tuple[Path, Path]], tmp_path: Path) -> None:
    """What was refused is named."""
    copy = shutil.copytree(trained("trec")[0], tmp_path / "copy")
    _save(copy, {"state_dict": {}, "more": Executed()})
    with pytest.raises(UsageError, match=r"can't be read \(it names \w+\.mkdir, expected tensors and plain values"):
        load(copy, "last")


def _save(copy: Path, content: dict[str, Any]) -> None:
    torch.save(content, copy / runs.CHECKPOINT)
    checksum.seal(copy / runs.CHECKPOINT)


def _no_weights(copy: Path) -> None:
    _save(copy, {"more": 1})


@pytest.mark.parametrize(
    "damage",
    [
        lambda copy: (copy / runs.CHECKPOINT).unlink(),
        lambda copy: (copy / runs.CHECKPOINT).write_bytes(b"PK"),
        _no_weights,
        lambda copy: (copy / encoding.ENCODING).write_text("{}"),
        lambda copy: (copy / encoding.ENCODING).write_text(
            '{"task": {"kind": "classification"}, "structure": "chain"}'
        ),
        lambda copy: (copy / encoding.ENCODING).write_text('{"task": {}, "structure": "os", "encoder": {"kind": "x"}}'),
        lambda copy: (copy / encoding.ENCODING).unlink(),
    ],
)
def test_a_damaged_run_is_refused_in_one_line(
    damage: Callable[[Path], Any], trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    copy = shutil.copytree(trained("trec")[0], tmp_path / "copy")
    damage(copy)
    with pytest.raises(UsageError) as error:
        load(copy, "last")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("option", "key", "value"),
    [
        *((option, "encoder", value) for option in ("trec", "series") for value in (5, "x", [])),
        ("trec", "encoder.kind", []),
        ("trec", "encoder.max_length", "x"),
        ("trec", "encoder.classes", [1]),
        ("trec", "encoder.vocabulary", [1, None]),
        ("labelled_text", "encoder.reading.asked.text", -5),
        ("labelled_text", "encoder.reading.labelled", "x"),
        ("series", "encoder.reading", 1e308),
        ("series", "encoder.reading", {"path": "/etc"}),
        ("series", "encoder.reading", {"unknown": 1}),
        ("series", "encoder.reading.id_column", -5),
        ("series", "encoder.columns", [[]]),
        ("frame_folder", "encoder.every", {}),
        ("trec", "task.kind", []),
        ("trec", "task.kind", "\ud800"),
        ("trec", "task.classes", 10**30),
        ("trec", "task.classes", "=1+1"),
        ("trec", "task.classes", ["a", None]),
        ("trec", "task.classes", ["a"]),
        ("trec", "task.output_size", -5),
        ("trec", "task.input_size", 10**30),
        ("trec", "task.vectors_size", 10**9),
        ("trec", "task.frame", [1, 2]),
        ("trec", "task.class_weights", {}),
    ],
)
def test_what_anyone_may_have_written_of_the_encoding_is_refused(
    option: str,
    key: str,
    value: Any,
    trained: Callable[..., tuple[Path, Path]],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder, root = trained(option, *READ[option][0])
    path = shutil.copytree(folder, tmp_path / "copy") / encoding.ENCODING
    raw = json.loads(path.read_text())
    *above, last = key.split(".")
    node = raw
    for one in above:
        node = node[one]
    node[last] = value
    path.write_text(json.dumps(raw))
    assert predict.main([str(path.parent), str(root)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.parametrize("key", ["_partial_", "_recursive_"])
def test_a_word_of_hydras_that_is_no_flag_is_refused(
    key: str, trained: Callable[..., tuple[Path, Path]], tmp_path: Path
) -> None:
    copy = changed(trained("trec")[0], tmp_path / "copy", **{f"config__model__{key}": 0.5})
    with pytest.raises(UsageError, match=rf"model\.{key}: given 0\.5, expected true or false"):
        load(copy)


def test_generated_data_have_nothing_to_read(tmp_path: Path) -> None:
    run_one(Composer().run(["dataset=adding", "dataset.train_size=20", *SMALL]), tmp_path / "run")
    run = load(tmp_path / "run")
    with pytest.raises(UsageError, match="were generated"):
        list(run.predict(["x"]))


# Language models.


@pytest.fixture(scope="module")
def writer(trained: Callable[..., tuple[Path, Path]]) -> TrainedRun:
    return load(trained("text", "dataset.window=20")[0])


@pytest.mark.parametrize(
    "typed",
    [
        ["dataset.window=20"],
        ["dataset.window=20", "dataset.stateful=false"],
        ["dataset.window=20", "dataset.tokens=bytes"],
        ["dataset.window=5", "dataset.tokens=words", "dataset.vocabulary_size=40", "dataset.stateful=false"],
        ["dataset.window=5", "dataset.tokens=words"],
    ],
)
def test_a_texts_metrics_are_those_that_were_recorded(
    typed: list[str], trained: Callable[..., tuple[Path, Path]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, root = trained("text", *typed)
    text = (root / "input.txt").read_text()
    record = runs.read(folder)
    tested = record.data["read"]["characters"]["test"]
    (path := tmp_path / "tested.txt").write_text(text[-tested:])
    (empty := tmp_path / "empty.txt").write_text("")
    rows, said = predicted([folder, path, empty], capsys)
    assert "rnn-predict: 1 without a token to predict left out" in said
    assert len(rows) == 1
    measured = {name.removeprefix("test_"): one for name, one in record.final.items() if name.startswith("test_")}
    assert set(rows[0]) == {"where", "predicted", *measured}
    for name, expected in measured.items():
        assert float(rows[0][name]) == pytest.approx(expected, rel=2e-6), name
    assert int(rows[0]["predicted"]) == record.data["read"]["tokens"]["test"] - 1


def test_what_is_written_repeats_itself_with_a_seed(writer: TrainedRun) -> None:
    first, again, other = ("".join(writer.generate("ab", 60, seed=seed)) for seed in (1, 1, 2))
    assert first == again != other
    assert len(first) == 60
    assert set(first) <= set("abcdefgh \n")


def test_at_temperature_0_it_is_greedy(writer: TrainedRun) -> None:
    """As one forward pass over all that was written says."""
    written = "".join(writer.generate("ab", 20, temperature=0.0, seed=5))
    assert written == "".join(writer.generate("ab", 20, top_k=1, seed=6))
    encoder = writer._stream()
    tokens = encoder.tokens_of("ab" + written)
    sample = encoder.encode("ab" + written)
    batch = writer.layout.collate([sample])
    with torch.no_grad():
        outputs, _ = writer.model.architecture.labelled(writer.model, batch, writer.model.fold(batch))
    logits = np.where(encoder.with_text, outputs.numpy(), -np.inf)
    np.testing.assert_array_equal(logits.argmax(1)[1:] + 1, tokens[2:])


def test_a_token_without_text_is_never_written(trained: Callable[..., tuple[Path, Path]]) -> None:
    """Few words are known, so the unknown one is the likeliest."""
    folder, _ = trained("text", "dataset.tokens=words", "dataset.vocabulary_size=2", "dataset.window=5")
    run = load(folder)
    pieces = list(run.generate("a", 40, temperature=5.0))
    assert len(pieces) == 40
    assert all(pieces)


def test_the_command_streams_and_refuses(
    trained: Callable[..., tuple[Path, Path]], capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(trained("text", "dataset.window=20")[0])
    assert generate.main([folder, "--prompt", "ab", "--length", "10", "--seed", "1"]) == 0
    assert len(capsys.readouterr().out) == 13
    for wrong, said in (
        (["--temperature", "-1"], "temperature: given -1"),
        (["--length", "-1"], "length: given -1"),
        (["--top-k", "0"], "top_k: given 0"),
        (["--prompt", ""], "prompt: given no text"),
    ):
        assert generate.main([folder, *wrong]) == 2
        assert said in capsys.readouterr().err
    assert generate.main(["no-such-run"]) == 2
    assert "no-such-run: no such folder" in capsys.readouterr().err
    other = str(trained("trec")[0])
    assert generate.main([other]) == 2
    assert "is of no language model" in capsys.readouterr().err
