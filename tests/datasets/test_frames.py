"""Image sequences: folders of images of all kinds, and digits that move."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from files_frames import clip, clips
from PIL import Image

from rnn_research.datasets.encoder import encoder_of
from rnn_research.datasets.frames.clips import frames_in, spread
from rnn_research.datasets.frames.encoder import FrameEncoder
from rnn_research.datasets.frames.frame_folder import FrameFolder
from rnn_research.datasets.frames.moving_digits import DIRECTIONS, STEPS, MovingDigits
from rnn_research.datasets.task import SPLITS


def test_clips_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    data = FrameFolder(str(clips(tmp_path)))
    assert data.task.classes == ("left", "right")
    assert data.task.frame == (1, 32, 32)
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 20, "val": 2, "test": 2}
    encoder = encoder_of(json.loads(json.dumps({"kind": "frames", **data.encoder.plain()})))  # type: ignore[union-attr]
    assert isinstance(encoder, FrameEncoder)
    items = list(encoder.items(tmp_path))
    assert [item.label for item in items] == ["left"] * 12 + ["right"] * 12
    (alone,) = encoder.items(tmp_path / "right" / "c1")
    assert alone.label == "right"
    np.testing.assert_array_equal(alone.raw, next(item.raw for item in items if item.where == alone.where))
    long = clip(tmp_path / "other" / "long", 12, 0)
    assert [int(one.stem.removeprefix("frame")) for one in frames_in(long)] == list(range(12))
    for number, path in enumerate(frames_in(long)):
        raw = FrameEncoder(data.form, ("other",)).encode(next(iter(encoder.items(long))).raw).inputs
        np.testing.assert_array_equal(raw[number], np.asarray(Image.open(path)).reshape(-1))


def test_sizes_and_colours_are_made_alike_and_said(tmp_path: Path) -> None:
    root = clips(tmp_path)
    clip(root / "left" / "wide", 2, 4, size=(64, 48))
    coloured = root / "right" / "coloured"
    coloured.mkdir()
    Image.new("RGB", (20, 20), (255, 0, 0)).save(coloured / "1.jpg")
    Image.new("RGBA", (32, 32), (0, 255, 0, 128)).save(coloured / "2.png")
    Image.new("P", (32, 32)).save(coloured / "3.gif")
    Image.new("1", (32, 32)).save(coloured / "4.bmp")
    grey, red = FrameFolder(str(root)), FrameFolder(str(root), grey=False, height=8, width=16)
    assert grey.read_report["notes"][:2] == [
        "3 frames of 64x48 and 1 other sizes were resized to 32x32",
        "4 frames were made grey",
    ]
    assert red.task.frame == (3, 8, 16)
    assert red.task.input_size == 3 * 8 * 16
    (item,) = red.encoder.items(coloured)  # type: ignore[union-attr]
    first = item.raw[0].reshape(3, 8, 16)
    assert first[0].min() > 250
    assert first[1:].max() < 5


def test_clips_of_one_frame_and_of_more_than_a_process_may_open(tmp_path: Path) -> None:
    root = clips(tmp_path)
    clip(root / "left" / "endless", 1100, 1, size=(4, 4))
    data = FrameFolder(str(root), height=4, width=4)
    lengths = [len(sample.inputs) for split in SPLITS for sample in data.samples(split)]
    assert (min(lengths), max(lengths)) == (1, 1100)
    few = FrameFolder(str(root), height=4, width=4, every=3, max_frames=50)
    assert max(len(sample.inputs) for split in SPLITS for sample in few.samples(split)) == 50
    numbers = [Path(str(number)) for number in range(10)]
    assert [int(str(one)) for one in spread(numbers, 1, 3)] == [1, 5, 8]
    assert [int(str(one)) for one in spread(numbers, 4, 9)] == [0, 4, 8]


def test_what_can_t_be_read_is_one_line(tmp_path: Path) -> None:
    def refused(what: str) -> None:
        with pytest.raises(ValueError, match=what) as error:
            FrameFolder(str(root)).load()
        assert "\n" not in str(error.value)

    root = clips(tmp_path / "data")
    broken = root / "left" / "c0" / "frame0.png"
    whole = broken.read_bytes()
    for content in (b"", b"no image", whole[:60], whole[:-200]):
        broken.write_bytes(content)
        refused(r"c0/frame0.png: found no image that can be read")
    broken.write_bytes(whole)
    (root / "left" / "empty").mkdir()
    refused(r"left/empty: has no image, expected the frames of a clip")
    (root / "left" / "empty").rmdir()
    (root / "loose.png").write_bytes(whole)
    FrameFolder(str(root)).load()
    clip(root / "nowhere", 1, 0)
    refused(r"nowhere: has images but lies in no folder that says its class")
    for path, what in (
        (tmp_path / "none", "is no folder"),
        (broken, "is no folder"),
        (root / "right", "no folder that"),
    ):
        with pytest.raises(ValueError, match=what):
            FrameFolder(str(path)).load()
    with pytest.raises(ValueError, match="height: given 2"):
        FrameFolder(str(root), height=2)


def test_folders_say_the_splits(tmp_path: Path) -> None:
    for number in range(12):
        split = ("train", "train", "dev", "test")[number % 4]
        clip(tmp_path / split / ("left", "right")[number % 3 % 2] / f"c{number}", 2, 4 + number, number)
    data = FrameFolder(str(tmp_path))
    assert {name: len(data.samples(name)) for name in SPLITS} == {"train": 6, "val": 3, "test": 3}


# Moving digits.


@pytest.mark.parametrize("side", [16, 20])
def test_a_digit_goes_one_pixel_a_frame_in_its_direction(side: int) -> None:
    data = MovingDigits(6, side=side, noise=0.0, train_size=40, val_size=4, test_size=4)
    seen = set()
    for sample in (data.samples("train")[number] for number in range(40)):
        frames = sample.inputs.reshape(-1, side, side)
        for before, after in pairwise(frames):
            np.testing.assert_array_equal(np.roll(before, STEPS[sample.target], (0, 1)), after)
        seen.add(int(sample.target))
    assert seen == set(range(len(DIRECTIONS)))
    assert STEPS[DIRECTIONS.index("up right")].tolist() == [-1, 1]


def test_after_the_visible_frames_there_is_noise_alone() -> None:
    data = MovingDigits(8, label="digit", visible=3, noise=0.1, train_size=20, val_size=4, test_size=4)
    for sample in (data.samples("train")[number] for number in range(20)):
        brightest = sample.inputs.max(1)
        assert (brightest[:3] > 100).all()
        assert (brightest[3:] <= 26).all()
    assert data.task.output_size == 10


def wherever(frame: np.ndarray) -> bytes:
    """The same for a frame that is moved."""
    return min(np.roll(frame, (down, right), (0, 1)).tobytes() for down in range(16) for right in range(16))


def test_no_image_is_in_two_splits() -> None:
    data = MovingDigits(2, noise=0.0, train_size=200, val_size=200, test_size=200, test_lengths=[3])
    images = {}
    for name in (*SPLITS, "length_3"):
        frames = [data.samples(name)[number].inputs[0].reshape(16, 16) for number in range(200)]
        images[name] = {
            min(np.roll(one, (a, b), (0, 1)).tobytes() for a in range(16) for b in range(16)) for one in frames[:25]
        }
    assert not images["train"] & images["val"]
    assert not images["train"] & (images["test"] | images["length_3"])
    assert not images["val"] & images["test"]
    assert all(len(data.samples("length_3")[number].inputs) == 3 for number in range(5))
    for wrong in ({"length": 1}, {"label": "speed"}, {"visible": 1}, {"side": 7}, {"noise": 2.0}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            MovingDigits(**wrong)  # type: ignore[arg-type]
