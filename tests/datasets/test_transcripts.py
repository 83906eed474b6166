"""Recordings with what is said in them: manifests of all kinds, what is left out, what is made of the training part."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from files_audio import said, spoken_numbers, transcripts
from scipy.io import wavfile

from rnn_research.datasets.audio.spoken_numbers import SpokenNumbers
from rnn_research.datasets.audio.transcribed import AudioTranscripts
from rnn_research.datasets.audio.transcript_encoder import TranscriptEncoder, relative_to_speech
from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS
from rnn_research.datasets.text.vocabulary import UNKNOWN


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "cache"))


def encoder(data: Any) -> TranscriptEncoder:
    assert isinstance(data.encoder, TranscriptEncoder)
    return data.encoder


def texts(data: Any, split: str) -> list[str]:
    return [encoder(data).decode(sample.target_sequence) for sample in data.samples(split)]


def as_tsv(rows: list[dict[str, str]], path: Path) -> Path:
    lines = [list(rows[0]), *(list(row.values()) for row in rows)]
    path.write_text("\n".join("\t".join(line) for line in lines))
    return path


def as_jsonl(rows: list[dict[str, str]], path: Path) -> Path:
    path.write_text("\n".join(json.dumps({"duration": 1.5, "speaker": None, **row}) for row in rows))
    return path


@pytest.mark.parametrize("write", [as_tsv, as_jsonl])
def test_a_manifest_of_any_kind_is_the_same_data(write: Callable[..., Path], tmp_path: Path) -> None:
    first = AudioTranscripts(str(transcripts(tmp_path)))
    with (tmp_path / "manifest.csv").open() as file:
        rows = [{"sentence" if key == "text" else key: one for key, one in row.items()} for row in csv.DictReader(file)]
    other = AudioTranscripts(str(write(rows, tmp_path / f"other{'.tsv' if write is as_tsv else '.jsonl'}")))
    assert other.fingerprint == first.fingerprint
    assert {name: len(first.samples(name)) for name in SPLITS} == {"train": 12, "val": 6, "test": 6}
    assert texts(other, "test") == [row["sentence"] for row in rows if row["split"] == "test"]
    again = encoder_of(json.loads(json.dumps({"kind": "transcripts", **encoder(first).plain()})))
    assert again.plain() == encoder(first).plain()


@pytest.mark.parametrize("windows", [1, 2, 5])
def test_a_step_is_so_many_windows(windows: int, tmp_path: Path) -> None:
    path = str(transcripts(tmp_path))
    one, several = AudioTranscripts(path, windows_per_step=1), AudioTranscripts(path, windows_per_step=windows)
    assert several.task.input_size == 40 * windows
    for wide, narrow in zip(several.samples("test"), one.samples("test"), strict=True):
        assert len(wide.inputs) == -(-len(narrow.inputs) // windows)
        flat = wide.inputs.reshape(-1, 40)
        np.testing.assert_array_equal(flat[: len(narrow.inputs)], narrow.inputs)
        assert not flat[len(narrow.inputs) :].any()


def test_scale_and_characters_are_of_the_training_part(tmp_path: Path) -> None:
    path = transcripts(tmp_path)
    before = AudioTranscripts(str(path))
    lines = path.read_text().splitlines()
    number = next(n for n, line in enumerate(lines) if line.endswith("test"))
    file, text, _ = lines[number].split(",")
    said(tmp_path / file, "abcabc", seed=99)  # a louder or another recording of test moves no number
    lines[number] = f"{file},{text}Z,test"
    path.write_text("\n".join(lines))
    after = AudioTranscripts(str(path), lower=False)
    assert encoder(after).characters.tokens == encoder(before).characters.tokens
    assert set(encoder(after).characters.tokens) == set("abc")
    assert encoder(after).plain()["sound"] == encoder(before).plain()["sound"]
    assert after.samples("test")[0].target_sequence[-1] == UNKNOWN
    assert any("unknown are 0.0% of val and" in note for note in after.read_report["notes"])


@pytest.mark.parametrize(("scale", "same"), [("training", False), ("recording", False), ("speech", True)])
def test_relative_to_speech_neither_microphone_nor_pauses_matter(scale: str, same: bool, tmp_path: Path) -> None:
    """A band's gain, and how long it is silent before and after, change nothing of the windows of a recording."""
    random = np.random.default_rng(0)
    encode = encoder(AudioTranscripts(str(transcripts(tmp_path)), windows_per_step=1, scale=scale)).encode
    speech = random.normal(5.0, 2.0, (60, 40)).astype(np.float32)
    silence = random.normal(-12.0, 0.1, (50, 40)).astype(np.float32)
    short = np.concatenate([silence[:10], speech, silence[:10]])
    long = np.concatenate([silence, speech, silence]) + random.normal(0.0, 0.5, 40).astype(np.float32)
    near, far = (encode(one).inputs[start : start + 50] for one, start in ((short, 15), (long, 55)))
    assert np.allclose(near, far, atol=0.05) == same
    assert relative_to_speech(short).min() == -6
    assert relative_to_speech(silence[:1]).shape == (1, 40)


def test_an_encoder_from_before_there_were_three_scales_is_read(tmp_path: Path) -> None:
    for scale, before in (("training", False), ("recording", True)):
        made = encoder(AudioTranscripts(str(transcripts(tmp_path)), scale=scale)).plain()
        old = {name: value for name, value in made.items() if name != "scale"} | {"by_recording": before}
        assert encoder_of({"kind": "transcripts", **old}).plain() == made
    with pytest.raises(ValueError, match="scale: given 'loud'"):
        encoder_of({"kind": "transcripts", **made, "scale": "loud"})


def test_what_is_left_out_is_counted(tmp_path: Path) -> None:
    path = transcripts(tmp_path)
    said(tmp_path / "rec" / "quick.wav", "a", seed=1)
    said(tmp_path / "rec" / "silent.wav", "b", seed=2)
    added = f"rec/quick.wav,{'ab' * 40},train\nrec/silent.wav,,train\nrec/3.wav,abc,train\n"
    path.write_text(path.read_text() + added)
    dropped = AudioTranscripts(str(path)).read_report["dropped"]
    assert dropped == {
        "with a transcript that needs more steps than there are": 1,
        "without a transcript": 1,
        "of train, equal to one of val or test": 1,
    }


def test_a_speaker_is_in_one_split(tmp_path: Path) -> None:
    lines = transcripts(tmp_path).read_text().splitlines()
    rows = [f"{line.rpartition(',')[0]},s{number % 5}" for number, line in enumerate(lines[1:])]
    (tmp_path / "manifest.csv").write_text("\n".join(["file,text,speaker", *rows]))
    data = AudioTranscripts(str(tmp_path))
    sizes = sorted(len(data.samples(name)) for name in SPLITS)
    assert sum(sizes) == 24
    assert sizes[:2] in ([4, 5], [5, 5])  # a speaker each
    rows[0] = rows[0].rpartition(",")[0] + ","
    (tmp_path / "manifest.csv").write_text("\n".join(["file,text,speaker", *rows]))
    with pytest.raises(ValueError, match=r"line 2: found no group of 0.wav, but of others"):
        AudioTranscripts(str(tmp_path)).load()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("rec/3.wav", "rec/none.wav"), "line 5: names rec/none.wav, which is not there"),
        (lambda text: text.replace("file,text", "file,words"), "found the columns file, words, split, expected file"),
        (lambda text: text + "rec/1.wav,ab\n", "found 2 columns, expected 3"),
        (lambda text: text.replace(",val", ",vla"), "found the split 'vla'"),
        (lambda text: "", "found no line, expected a header such as file,text"),
        (lambda text: "file,text\nrec/0.wav,\nrec/1.wav,\n", "2 without a transcript"),
        (lambda text: "file,text\nrec/0.wav,a\nrec/1.wav,b\n", "which leaves none for"),
    ],
)
def test_a_manifest_that_is_wrong_is_one_line(change: Callable[[str], str], said: str, tmp_path: Path) -> None:
    path = transcripts(tmp_path)
    path.write_text(change(path.read_text()))
    with pytest.raises(ValueError, match=said) as error:
        AudioTranscripts(str(path)).load()
    assert "\n" not in str(error.value)


def test_no_manifest_is_said(tmp_path: Path) -> None:
    said(tmp_path / "a.wav", "a")
    with pytest.raises(ValueError, match=r"found no labels.csv or manifest.csv .*write one"):
        AudioTranscripts(str(tmp_path)).load()
    with pytest.raises(ValueError, match="expected a file or a folder"):
        AudioTranscripts().load()
    with pytest.raises(ValueError, match=r"none, which is not there, expected a recording a sample, and a manifest"):
        AudioTranscripts(str(tmp_path / "none")).load()
    (tmp_path / "m.jsonl").write_text('{"file": "a.wav", "text": "a"}\n[1]\n')
    with pytest.raises(ValueError, match=r"m.jsonl, line 2: found list, expected an object"):
        AudioTranscripts(str(tmp_path / "m.jsonl")).load()


@pytest.mark.parametrize(("text", "said_of"), [("NaN", "nan"), ('["a"]', "list"), ('{"en": "a"}', "dict")])
def test_what_is_no_text_is_no_transcript(text: str, said_of: str, tmp_path: Path) -> None:
    said(tmp_path / "a.wav", "a")
    (tmp_path / "m.jsonl").write_text(f'{{"file": "a.wav", "text": "a"}}\n{{"file": "a.wav", "text": {text}}}\n')
    with pytest.raises(ValueError, match=rf"m.jsonl, line 2: found {said_of} under 'text', expected text"):
        AudioTranscripts(str(tmp_path / "m.jsonl")).load()


# Spoken numbers.

SIZES: dict[str, Any] = {"train_size": 30, "val_size": 6, "test_size": 9, "min_digits": 2, "max_digits": 4}


def test_numbers_are_made_of_recordings_of_their_split(tmp_path: Path) -> None:
    data = SpokenNumbers(str(spoken_numbers(tmp_path / "wav")), **SIZES)
    raw = data.recordings()
    used: dict[str, set[str]] = {name: set() for name in SPLITS}
    for index, split in enumerate(raw.given or ()):
        files = raw.where(index).split()
        assert raw.texts[index] == "".join(file[0] for file in files)
        assert 2 <= len(files) <= 4
        assert len({file.split("_")[1] for file in files}) == 1
        used[split] |= set(files)
    assert not used["train"] & used["val"] | used["train"] & used["test"] | used["val"] & used["test"]
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 30, "val": 6, "test": 9}
    assert texts(data, "test") == list(raw.texts[-9:])
    again, other = (SpokenNumbers(str(tmp_path / "wav"), numbers_seed=seed, **SIZES) for seed in (0, 1))
    assert again.fingerprint == data.fingerprint != other.fingerprint


def test_speakers_can_be_kept_for_the_test(tmp_path: Path) -> None:
    root = str(spoken_numbers(tmp_path / "wav"))
    raw = SpokenNumbers(root, test_speakers=["bob"], **SIZES).recordings()
    heard: dict[str, set[str]] = {name: set() for name in SPLITS}
    for index, split in enumerate(raw.given or ()):
        heard[split].add(raw.where(index).split("_")[1])
    assert heard == {"train": {"ann"}, "val": {"ann"}, "test": {"bob"}}
    with pytest.raises(ValueError, match=r"test_speakers: given eve, expected some of ann, bob"):
        SpokenNumbers(root, test_speakers=["eve"]).load()
    with pytest.raises(ValueError, match="has no recording for train and val"):
        SpokenNumbers(root, test_speakers=["ann", "bob"]).load()


@pytest.mark.parametrize("varied", [{"tempo": 0.3}, {"warp": 0.2}, {"speed": 0.3}, {"level": 0.1}])
def test_only_numbers_of_train_are_said_by_someone_else(varied: dict[str, Any], tmp_path: Path) -> None:
    root = str(spoken_numbers(tmp_path / "wav"))
    made, plain = (SpokenNumbers(root, pause=0.0, **SIZES, **given).recordings() for given in (varied, {}))
    assert made.texts == plain.texts
    ratios = np.array([len(one) / len(other) for one, other in zip(made.windows, plain.windows, strict=True)])
    train = np.array(made.given) == "train"
    assert (ratios[~train] == 1).all()
    faster = "tempo" in varied or "speed" in varied
    assert (ratios[train].min() < 0.9) == (ratios[train].max() > 1.1) == faster
    tones = [
        (one.mean(0).argmax(), other.mean(0).argmax()) for one, other in zip(made.windows, plain.windows, strict=True)
    ]
    moved = np.array([one != other for one, other in tones])
    assert moved[train].any() == ("warp" in varied or "speed" in varied)
    again = SpokenNumbers(root, pause=0.0, **SIZES, **varied).recordings()
    assert all((one == other).all() for one, other in zip(made.windows, again.windows, strict=True))


def test_a_level_takes_out_how_loud_each_person_was_recorded(tmp_path: Path) -> None:
    folder = spoken_numbers(tmp_path / "wav")
    for file in folder.glob("*_ann_*"):
        rate, sound = wavfile.read(file)
        wavfile.write(file, rate, (sound / 30).astype(np.int16))

    def loudest(level: float | None) -> dict[str, float]:
        raw = SpokenNumbers(str(folder), level=level, **SIZES).recordings()
        people = [raw.where(index).split("_")[1] for index in range(len(raw.texts))]
        return {
            name: max(w.max() for w, one in zip(raw.windows, people, strict=True) if one == name)
            for name in ("ann", "bob")
        }

    before, after = loudest(None), loudest(0.1)
    assert before["bob"] - before["ann"] > 5
    assert abs(after["bob"] - after["ann"]) < 1
