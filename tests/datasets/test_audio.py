"""Recorded sound: wav files of all kinds, log-mel spectrograms, and the data sets that read them."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from files_audio import digits, folders, tone
from scipy.io import wavfile

from rnn_research.datasets.audio import spectrograms
from rnn_research.datasets.audio.audio_folder import AudioFolder
from rnn_research.datasets.audio.encoder import AudioEncoder
from rnn_research.datasets.audio.log_mel import LogMel, hertz, mel, warped
from rnn_research.datasets.audio.spoken_digits import SpokenDigits
from rnn_research.datasets.audio.wav import mono_at, wav_samples
from rnn_research.datasets.base import DataModule
from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.task import SPLITS


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "cache"))


def sizes(data: DataModule) -> dict[str, int]:
    return {name: len(data.samples(name)) for name in SPLITS}


# Wav files.

SOUND = np.array([[0.0, 0.5], [0.25, -0.5], [-0.75, 0.125]])


def written(path: Path, values: np.ndarray, rate: int = 8000) -> bytes:
    wavfile.write(path, rate, values)
    return path.read_bytes()


@pytest.mark.parametrize(
    ("kind", "scale", "shift"),
    [("uint8", 128, 128), ("int16", 2**15, 0), ("int32", 2**31, 0), ("float32", 1, 0), ("float64", 1, 0)],
)
def test_every_kind_of_number_is_the_same_sound(kind: str, scale: int, shift: int, tmp_path: Path) -> None:
    rate, sound = wav_samples(tmp_path, written(tmp_path / "x.wav", (SOUND * scale + shift).astype(kind)))
    assert rate == 8000
    np.testing.assert_allclose(sound, SOUND, atol=1e-12)


def test_24_bits_are_read(tmp_path: Path) -> None:
    frames = b"".join(struct.pack("<i", int(value * 2**23))[:3] for value in SOUND[:, 0])
    head = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(frames), b"WAVE", b"fmt ", 16, 1, 1, 8000, 24000, 3, 24,
                       b"data", len(frames))  # fmt: skip
    np.testing.assert_allclose(wav_samples(tmp_path, head + frames)[1][:, 0], SOUND[:, 0], atol=1e-12)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda content: b"", "x.wav: is empty, expected a wav file of 8- to 32-bit PCM or float"),
        (lambda content: b"RIFX" + content[4:20], "is cut short: its header does not say how sound is coded"),
        (lambda content: content[:-3], "is cut short: 9 bytes of sound of 12"),
        (lambda content: content[:44], "is cut short: 0 bytes of sound of 12"),
        (lambda content: content[:36], "is cut short: it has no sound, only a header"),
        (lambda content: content[:4] + bytes(40), "found no wav file, expected a wav file of"),
        (lambda content: b"ID3" + content, "found an MP3 file"),
        (lambda content: b"fLaC" + content, "found a FLAC file"),
        (lambda content: bytes(4) + b"ftyp" + content, "found an MP4 file"),
        (lambda content: content[:20] + b"\7\0" + content[22:], r"coded as mu-law \(number 7\), expected 8- to 32-bit"),
        (lambda content: content[:20] + b"\x99\0" + content[22:], r"coded as an unknown coding \(number 153\)"),
        (lambda content: content[:22] + b"\0\0" + content[24:], "says that it has 0 channels"),
        (lambda content: content[:28] + bytes(4) + content[32:], "header that contradicts itself"),
    ],
)
def test_what_is_no_sound_is_refused(change: Callable[[bytes], bytes], found: str, tmp_path: Path) -> None:
    """In words of this project: what scipy, struct and numpy say of it is nobody's help."""
    content = written(tmp_path / "x.wav", np.arange(6, dtype=np.int16))
    with pytest.raises(ValueError, match=found) as error:
        wav_samples(tmp_path / "x.wav", change(content))
    assert "x.wav" in str(error.value)
    assert not [word for word in ("b'", "buffer", "RIFX", "Unknown wave") if word in str(error.value)]


def test_a_wav_file_of_a_pipe_has_the_sound_that_is_there(tmp_path: Path) -> None:
    """Whoever writes to a pipe knows no sizes."""
    values = np.arange(6, dtype=np.int16)
    content = written(tmp_path / "x.wav", values)
    unknown = b"\xff" * 4
    piped = content[:4] + unknown + content[8:40] + unknown + content[44:]
    assert wav_samples(tmp_path / "x.wav", piped)[1][:, 0].tolist() == (values / 2**15).tolist()


@pytest.mark.parametrize(
    "damage", [lambda content, at: content[:at], lambda content, at: content[:at] + b"\xff" + content[at + 1 :]]
)
def test_any_damage_to_a_header_is_refused_or_read(damage: Callable[[bytes, int], bytes], tmp_path: Path) -> None:
    content = written(tmp_path / "x.wav", np.arange(6, dtype=np.int16))
    refused = []
    for at in range(44):
        try:
            rate, sound = wav_samples(tmp_path / "x.wav", damage(content, at))
            assert rate > 0
            assert sound.size
        except ValueError as error:
            refused.append(str(error))
    assert len(refused) > 10
    assert not [said for said in refused if not said.startswith(f"dataset.path: {tmp_path / 'x.wav'}: ")]


def test_an_empty_and_a_broken_float_recording_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds no sample"):
        wav_samples(tmp_path, written(tmp_path / "x.wav", np.zeros(0, dtype=np.int16)))
    with pytest.raises(ValueError, match="NaN or infinite"):
        wav_samples(tmp_path, written(tmp_path / "y.wav", np.array([0, np.nan], dtype=np.float32)))


def test_samples_far_too_loud_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"x.wav: holds samples up to 7.5e\+199"):
        wav_samples(tmp_path / "x.wav", written(tmp_path / "x.wav", SOUND * 1e200))


@pytest.mark.parametrize("rate", [8000, 11025, 44100])
def test_a_tone_is_the_same_at_another_rate(rate: int) -> None:
    at = np.arange(rate) / rate
    sound = np.stack([np.sin(2 * np.pi * 440 * at)] * 2, axis=1)
    other = mono_at(rate, sound, 16000)
    assert len(other) == 16000
    inside = slice(500, -500)
    np.testing.assert_allclose(other[inside], np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)[inside], atol=2e-3)


# Spectrograms.


def test_mel_is_the_published_scale() -> None:
    assert mel(1000) == pytest.approx(1000, abs=0.02)  # 1000 Hz is 1000 mel
    np.testing.assert_allclose(hertz(mel([20.0, 440.0, 8000.0])), [20.0, 440.0, 8000.0])


def test_a_tone_lies_in_its_band() -> None:
    features = LogMel(rate=16000, bands=40)
    corners = hertz(np.linspace(mel(20.0), mel(8000.0), 42))
    for band in (5, 20, 38):
        sound = np.sin(2 * np.pi * corners[band + 1] * np.arange(16000) / 16000)
        assert int(features.of(sound)[50].argmax()) == band


@pytest.mark.parametrize("warp", [0.8, 1.0, 1.25])
def test_a_warp_moves_each_frequency_and_keeps_the_highest(warp: float) -> None:
    frequencies = np.linspace(0, 4000, 801)
    moved = warped(frequencies, warp, 4000.0)
    assert (np.diff(moved) > 0).all()
    assert (moved[0], moved[-1]) == (0.0, pytest.approx(4000.0))
    np.testing.assert_allclose(moved[:500], warp * frequencies[:500])
    features, time = LogMel(8000), np.arange(8000) / 8000
    for band in (10, 20, 30):  # a tone at warp f lies where one at f lay
        middle = hertz(np.linspace(mel(20), mel(4000), 42))[1 + band]
        tone = np.sin(2 * np.pi * warped(middle, warp, 4000.0) * time)
        assert features.of(tone, warp)[50].argmax() == band
    np.testing.assert_array_equal(features.of(tone, 1.0), features.of(tone))


def test_a_spectrogram_is_the_discrete_fourier_transform_of_windows() -> None:
    features = LogMel(rate=8000, bands=10, window=0.016, hop=0.01)
    sound = np.random.default_rng(0).normal(size=400)
    found = features.of(sound)
    assert found.shape == (1 + 400 // 80, 10)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(128) / 128)
    padded = np.pad(sound, 64)
    from rnn_research.datasets.audio.log_mel import _filters

    for step in range(len(found)):
        part = padded[80 * step : 80 * step + 128]
        energy = np.abs(np.fft.rfft(np.pad(part, (0, 128 - len(part))) * window)) ** 2
        np.testing.assert_allclose(found[step], np.log(np.maximum(_filters(features) @ energy, 1e-10)), rtol=1e-5)


def test_silence_is_finite_and_one_sample_is_a_step() -> None:
    features = LogMel()
    assert features.of(np.zeros(1)).shape == (1, 40)
    np.testing.assert_allclose(features.of(np.zeros(800)), np.log(1e-10), rtol=1e-6)


@pytest.mark.parametrize("given", [{"bands": 400}, {"window": 0.0001}, {"rate": 10}, {"hop": 0.0}, {"bands": 0}])
def test_features_that_can_not_be_had_are_refused(given: dict[str, float]) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(given))}: given|window: given"):
        LogMel(**given)  # type: ignore[arg-type]


def test_spectrograms_are_kept_by_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = []
    own = spectrograms._made
    monkeypatch.setattr(spectrograms, "_made", lambda *given: made.append(1) or own(*given))
    root = str(folders(tmp_path / "data"))
    first = AudioFolder(root, rate=8000)
    assert first.fingerprint == AudioFolder(root, rate=8000).fingerprint
    assert len(made) == 1
    assert AudioFolder(root, rate=8000, hop=0.02).fingerprint != first.fingerprint
    tone(tmp_path / "data" / "low" / "1.wav", 310)
    assert AudioFolder(root, rate=8000).fingerprint != first.fingerprint
    assert len(made) == 3
    for path in (tmp_path / "cache" / "spectrograms").iterdir():
        path.write_bytes(path.read_bytes()[:100])
    assert AudioFolder(root, rate=8000, hop=0.02).fingerprint != first.fingerprint


# Data sets.


def test_folders_by_class(tmp_path: Path) -> None:
    data = AudioFolder(str(folders(tmp_path)), rate=8000, val_fraction=0.25, test_fraction=0.25)
    assert sizes(data) == {"train": 12, "val": 6, "test": 6}
    assert data.task.classes == ("high", "low")
    train = np.concatenate([sample.inputs for sample in data.samples("train")])
    np.testing.assert_allclose(train.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(train.std(0), 1, rtol=1e-4)


def test_a_manifest_says_splits_and_speakers(tmp_path: Path) -> None:
    rows = ["file,label,split,speaker"]
    for number in range(9):
        tone(tmp_path / f"{number}.wav", 300 + 100 * number, seed=number)
        rows.append(f"{number}.wav,{'uv'[number % 2]},{SPLITS[number // 3]},{number // 3}")
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n")
    assert sizes(AudioFolder(str(tmp_path))) == {"train": 3, "val": 3, "test": 3}
    assert sizes(AudioFolder(str(tmp_path / "labels.csv"))) == {"train": 3, "val": 3, "test": 3}
    (tmp_path / "labels.csv").write_text("\n".join([*rows, "missing.wav,u,test,2"]) + "\n")
    with pytest.raises(ValueError, match=r"labels.csv, line 11: names missing.wav, which is not there"):
        AudioFolder(str(tmp_path)).task  # noqa: B018


def test_rates_and_channels_that_were_changed_are_said(tmp_path: Path) -> None:
    root = folders(tmp_path)
    wavfile.write(root / "high" / "two.wav", 8000, np.random.default_rng(0).normal(size=(900, 2)).astype(np.float32))
    wavfile.write(root / "high" / "fast.wav", 11025, np.random.default_rng(1).normal(size=900).astype(np.float32))
    notes = AudioFolder(str(root), rate=8000).read_report["notes"]
    assert "1 recordings were resampled from 11025 to 8000 samples a second" in notes
    assert "1 recordings of several channels were mixed to one" in notes


def test_a_broken_recording_is_named(tmp_path: Path) -> None:
    root = folders(tmp_path)
    (root / "low" / "1.wav").write_bytes(b"")
    with pytest.raises(ValueError, match=r"low/1.wav: is empty, expected a wav file"):
        AudioFolder(str(root)).task  # noqa: B018


def test_the_digits_are_split_as_published_or_by_speaker(tmp_path: Path) -> None:
    root = str(digits(tmp_path))
    assert sizes(SpokenDigits(root, val_fraction=0.25)) == {"train": 14, "val": 4, "test": 30}
    assert sizes(SpokenDigits(root, test_speakers=["bob"])) == {"train": 22, "val": 2, "test": 24}
    with pytest.raises(ValueError, match=r"test_speakers: given eve, expected some of ann, bob"):
        SpokenDigits(root, test_speakers=["eve"]).task  # noqa: B018


def test_digits_without_a_published_part_are_refused(tmp_path: Path) -> None:
    folder = digits(tmp_path)
    for path in folder.rglob("*.wav"):
        if int(path.stem.split("_")[2]) < 5:
            path.unlink()
    with pytest.raises(ValueError, match=r"root: .* has no recording to test on"):
        SpokenDigits(str(folder)).task  # noqa: B018


def test_an_encoder_reads_recordings_as_the_data_do(tmp_path: Path) -> None:
    root = digits(tmp_path)
    data = SpokenDigits(str(root))
    encoder = data.encoder
    assert isinstance(encoder, AudioEncoder)
    again = encoder_of(json.loads(json.dumps({"kind": encoder.kind, **encoder.plain()})))
    items = list(again.items(root))
    known = {sample.inputs.tobytes(): str(sample.target) for name in SPLITS for sample in data.samples(name)}
    assert {again.encode(item.raw).inputs.tobytes(): item.label for item in items} == known


def test_the_real_digits_have_their_published_sizes(
    real_data: Callable[[str], Path], caplog: pytest.LogCaptureFixture
) -> None:
    assert sizes(SpokenDigits(str(real_data("fsdd")), hop=0.05)) == {"train": 2430, "val": 270, "test": 300}
    assert "differ" not in caplog.text
