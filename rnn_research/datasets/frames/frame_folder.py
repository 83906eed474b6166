"""Clips of one's own: folders of images, each with a class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

from rnn_research.checks import integer
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.frames.clips import clips_at, spread
from rnn_research.datasets.frames.encoder import FrameEncoder
from rnn_research.datasets.frames.images import FrameForm, FramesSeen, clip_of
from rnn_research.datasets.own.module import OwnData, RawSamples
from rnn_research.datasets.task import Task
from rnn_research.structures import Sample


@final
class FrameFolder(OwnData):
    """A folder of images a clip, clips in folders by class: CLASS/CLIP/IMAGE, perhaps below train, val and test.

    Frames come in the order of the numbers in their names. All are brought to one size and to grey or to red, green and
    blue, which is said. A small convolutional encoder, shared over time, reads each: see `models.frames`.

    Args:
        path: the folder.
        height, width: of every frame, in pixels.
        grey: whether frames have one channel; else three.
        every: read every so many frames.
        max_frames: of a longer clip so many are read, spread evenly; None: all.
        val_fraction, test_fraction, split_seed, class_weights: as `OwnData`.

    Raises:
        ValueError: as `OwnData`; names the file.
    """

    LENGTHS_SAID = "dataset.max_frames"

    def __init__(
        self,
        path: str | None = None,
        height: int = 32,
        width: int = 32,
        grey: bool = True,
        every: int = 1,
        max_frames: int | None = None,
        val_fraction: float = 0.1,
        test_fraction: float = 0.1,
        split_seed: int = 0,
        class_weights: str = "none",
        batch_size: int = 32,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        splits = {"val_fraction": val_fraction, "test_fraction": test_fraction, "split_seed": split_seed}
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(path, class_weights=class_weights, **splits, **batches)
        self.form = FrameForm(height, width, grey)
        self.every = integer("every", every)
        self.max_frames = None if max_frames is None else integer("max_frames", max_frames)

    def read(self) -> RawSamples:
        clips, seen = clips_at(self.located()), FramesSeen()
        items = [clip_of(spread(clip.frames, self.every, self.max_frames), self.form, seen) for clip in clips]
        self.report.notes += seen.notes(self.form)
        given = [clip.split for clip in clips]
        return RawSamples(
            items,
            [clip.label for clip in clips],
            [(one.shape, one.tobytes()) for one in items],
            lambda number: str(clips[number].folder),
            given if any(given) else None,
        )

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        return FrameEncoder(self.form, classes, self.every, self.max_frames)

    def make_task(self, sets: Mapping[str, Sequence[Sample]], shared: Mapping[str, Any]) -> Task:
        channels, height, width = self.form.shape
        return Task(input_size=channels * height * width, frame=self.form.shape, **shared)
