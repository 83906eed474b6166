"""Actions of people, from the joints of their skeletons."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from rnn_research.checks import flag, integers
from rnn_research.datasets.encoder import Encoder
from rnn_research.datasets.known import PublishedData
from rnn_research.datasets.own.files import refusal
from rnn_research.datasets.own.module import RawSamples
from rnn_research.datasets.own.tables import number_of
from rnn_research.datasets.series.encoder import SeriesEncoder
from rnn_research.datasets.series.published import PublishedSeries
from rnn_research.datasets.series.reading import ReadSeries

PEOPLE = 10
JOINTS = 20
LAST_FRAME = 1 << 31
HIP, LEFT_HIP, RIGHT_HIP = 0, 12, 16
RECORDING = re.compile(r"joints_s(\d\d)_e(\d\d)\.txt")
LABELS = ("actionLabel_modified.txt", "actionLabel.txt")
CORRECTED = {
    ("s01_e02", "walk", 154, 192): (154, 270),
    ("s03_e01", "push", 2556, 3622): (3556, 3622),
    ("s07_e01", "pull", 3350, 3522): (3432, 3522),
    ("s07_e02", "pull", 2496, 2618): (2530, 2618),
    ("s09_e01", "push", 3266, 3390): (3266, 3300),
    ("s10_e01", "carry", 1394, 1846): (1394, 1676),
    ("s10_e02", "pull", 1982, 2062): (1994, 2062),
}
"""Misprints of actionLabel.txt, as actionLabel_modified.txt corrects them: a push of a thousand frames, segments that
overlap. By recording, action, and first and last frame."""


@final
class SkeletonActions(PublishedSeries):
    """UTKinect-Action3D: Xia, Chen and Aggarwal 2012, "View invariant human action recognition using histograms of 3D
    joints", CVPR workshops. Ten people do ten actions twice: 199 usable segments of 5 to 110 frames (one has no
    label), 20 joints each.

    Frames that are recorded twice are read once. `centred` takes the place of the hip from every joint and turns the
    skeleton such that the hips face one way: where people stand, and which way they look, says nothing. `velocity` adds
    each joint's way since the frame before.

    Args:
        root, cache, scale: see `PublishedSeries`.
        test_subjects: who is tested; the others train, and of their segments `val_fraction` choose.
        centred, velocity: see above.
        val_fraction, split_seed: which segments of the training subjects choose, each action in proportion.

    Raises:
        ValueError: an argument is out of range; on loading, a file is missing, malformed or can't be downloaded.
    """

    PUBLISHED = PublishedData(
        "utkinect",
        (
            "https://cvrc.ece.utexas.edu/KinectDatasets/joints.zip",
            "https://cvrc.ece.utexas.edu/KinectDatasets/actionLabel.txt",
        ),
        lambda name: wanted(name),
        "2c2fee4b6ba4ae77522df21c36ac47bd52784ff07a5cac9a78a2db0283473c1f",
        "joints_sXX_eYY.txt and actionLabel.txt",
        "no licence is stated",
        "L. Xia, C.-C. Chen, J. K. Aggarwal (2012). View invariant human action recognition using histograms of 3D "
        "joints.",
        added=frozenset(LABELS[:1]),
    )

    def __init__(
        self,
        root: str | None = None,
        cache: str | None = None,
        scale: str = "standard",
        test_subjects: Sequence[int] = (6, 7, 8, 9, 10),
        centred: bool = True,
        velocity: bool = True,
        val_fraction: float = 0.1,
        split_seed: int = 0,
        batch_size: int = 16,
        num_workers: int = 0,
        bucket: bool = False,
    ) -> None:
        batches = {"batch_size": batch_size, "num_workers": num_workers, "bucket": bucket}
        super().__init__(root, cache, scale, val_fraction=val_fraction, split_seed=split_seed, **batches)
        self.test_subjects = integers("test_subjects", test_subjects, most=PEOPLE)
        self.centred, self.velocity = flag("centred", centred), flag("velocity", velocity)

    def read(self) -> RawSamples:
        read = read_recordings(self.published_files(), self.centred, self.velocity)
        self.report.drop("without a label", read.unlabelled)
        self.report.drop("without a frame", read.frameless)
        test = {f"s{subject:02}" for subject in self.test_subjects}
        given = ["test" if subject in test else "train" for subject in read.groups]
        if len(set(given)) < 2:
            raise ValueError(
                f"test_subjects: given {list(self.test_subjects)}, which leaves none to {'train' if test else 'test'}, "
                f"of {', '.join(sorted(set(read.groups)))}"
            )
        return RawSamples(read.series, read.labels, [one.tobytes() for one in read.series], read.where, given)

    def make_encoder(self, items: Sequence[Any], labels: Sequence[str], classes: tuple[str, ...]) -> Encoder:
        reading = {"format": "skeleton", "centred": self.centred, "velocity": self.velocity}
        return SeriesEncoder.fitted(items, self.scale, classes=classes, reading=reading)


@dataclass(eq=False)
class Recordings(ReadSeries):
    """Labelled segments of recordings; `groups` are their subjects, `unlabelled` how many have no begin and end,
    `frameless` how many no frame between them."""

    unlabelled: int = 0
    frameless: int = 0


def wanted(name: str) -> bool:
    """Whether a file is one of a recording, or of the labels."""
    return bool(RECORDING.fullmatch(name)) or name in LABELS


def read_recordings(files: Mapping[str, bytes], centred: bool, velocity: bool) -> Recordings:
    """The labelled segments in these files, in the order of the labels.

    Raises:
        ValueError: a file is malformed, or one is missing: names the file and the line.
    """
    read = Recordings()
    frames = {name: _recording(name, files[name]) for name in files if RECORDING.fullmatch(name)}
    for line, recording, action, first, last in _segments(files):
        name = f"joints_{recording}.txt"
        if name not in frames:
            raise ValueError(f"root: the labels, line {line}: {recording}, of which there is no {name}; fetch it again")
        numbers, joints = frames[name]
        segment = joints[(numbers >= first) & (numbers <= last)]
        if not len(segment):
            read.unlabelled += last < 0
            read.frameless += last >= 0
            continue
        read.series.append(features_of(segment, centred, velocity))
        read.labels.append(action)
        read.groups.append(recording[:3])
        read.places.append((f"{name}, frames {first} to {last}", None))
    return read


def _segments(files: Mapping[str, bytes]) -> Iterator[tuple[int, str, str, int, int]]:
    """Each labelled segment: its line, its recording, its action, and its first and last frame, 0 and -1 for none."""
    name = next((one for one in LABELS if one in files), None)
    if name is None:
        raise ValueError(f"root: found none of {', '.join(LABELS)}, expected the labels; fetch the files again")
    recording = ""
    for number, line in enumerate(files[name].decode("utf-8-sig", "replace").splitlines(), start=1):
        if re.fullmatch(r"s\d\d_e\d\d", line.strip()):
            recording = line.strip()
        elif line.strip():
            found = re.fullmatch(r"(\w+):\s*(\d+|NaN)\s+(\d+|NaN)", line.strip())
            if found is None or not recording:
                raise refusal(Path(name), f"found {line[:40]!r}, expected an action and two frames", number)
            if "NaN" in found.groups():
                yield number, recording, found[1], 0, -1
                continue
            first, last = int(found[2]), int(found[3])
            yield number, recording, found[1], *CORRECTED.get((recording, found[1], first, last), (first, last))


def features_of(joints: np.ndarray, centred: bool, velocity: bool) -> np.ndarray:
    """What is read of each frame's joints: (frames, features)."""
    if centred:
        joints = facing_one_way(joints - joints[:, HIP : HIP + 1])
    parts = [joints]
    if velocity:
        parts.append(np.diff(joints, axis=0, prepend=joints[:1]))
    return np.concatenate([part.reshape(len(part), -1) for part in parts], axis=1)


def _recording(name: str, content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of a recording's frames, each once, and their joints (frames, 20, 3) in metres."""
    rows = []
    for number, line in enumerate(content.decode("utf-8-sig", "replace").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = [number_of(cell) for cell in line.split()]
        except ValueError as error:
            raise refusal(Path(name), str(error), number) from None
        if len(row) != 1 + 3 * JOINTS:
            raise refusal(Path(name), f"found {len(row)} numbers, expected a frame and {3 * JOINTS}", number)
        if not np.isfinite(row).all():
            raise refusal(Path(name), "found NaN or infinite coordinates, expected finite ones", number)
        if not 0 <= row[0] < LAST_FRAME or row[0] != int(row[0]):
            raise refusal(Path(name), f"found the frame {row[0]:g}, expected a whole number", number)
        rows.append(row)
    if not rows:
        raise refusal(Path(name), "found no frame", repair="fetch the files again")
    values = np.array(rows)
    frames, first = np.unique(values[:, 0].astype(np.int64), return_index=True)
    return frames, values[first, 1:].reshape(-1, JOINTS, 3)


def facing_one_way(joints: np.ndarray) -> np.ndarray:
    """The joints turned about the vertical axis such that the line between the hips, in the mean over the frames, is
    the first axis."""
    across = (joints[:, LEFT_HIP] - joints[:, RIGHT_HIP]).mean(0)
    angle = np.arctan2(across[2], across[0])
    cosine, sine = np.cos(angle), np.sin(angle)
    turn = np.array([[cosine, 0.0, sine], [0.0, 1.0, 0.0], [-sine, 0.0, cosine]])
    return joints @ turn.T
