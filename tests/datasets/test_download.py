"""Downloads: cut, resumed, changed on the way, refused; and known data that come so, or by hand."""

from __future__ import annotations

import gzip
import hashlib
import io
import logging
import lzma
import os
import re
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import pytest
from command import until
from cutting_server import Served, serving
from forked import Forked, begun

from rnn_research.datasets import download as module
from rnn_research.datasets import sst, transfer
from rnn_research.datasets.audio.spoken_digits import SpokenDigits
from rnn_research.datasets.download import download
from rnn_research.datasets.download import file_name as download_name
from rnn_research.datasets.folder_lock import locked
from rnn_research.datasets.known import PublishedData, digest_of
from rnn_research.datasets.own import archives
from rnn_research.datasets.series import sequential_mnist
from rnn_research.datasets.series.japanese_vowels import JapaneseVowels
from rnn_research.datasets.series.skeleton_actions import SkeletonActions
from rnn_research.datasets.sst import SST
from rnn_research.datasets.text import shakespeare
from rnn_research.datasets.text.multi30k import Multi30k
from rnn_research.datasets.text.published import SmsSpam, Trec
from rnn_research.datasets.text.shakespeare import Shakespeare

CONTENT = bytes(range(256)) * 40


@pytest.fixture
def server() -> Iterator[Any]:
    with serving() as handler:
        yield handler


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RNN_RESEARCH_CACHE", str(tmp_path / "own"))
    monkeypatch.setattr(module, "TRIES", 1)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} - {".lock"}


# A file.


def test_a_file_is_fetched_once_and_again_when_damaged(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT)
    folder = tmp_path / "new" / "cache"
    fetch = partial(download, f"{server.address}/a.zip", sha256(CONTENT), folder)
    assert fetch() == folder / "a.zip"
    assert fetch().read_bytes() == CONTENT
    assert len(server.asked) == 1
    (folder / "a.zip").write_bytes(CONTENT[:-1])
    assert fetch().read_bytes() == CONTENT
    assert len(server.asked) == 2
    assert names(folder) == {"a.zip"}


VERSIONS: dict[str, dict[str, Any]] = {
    "tag": {},
    "date": {"tag": None, "modified": "Fri, 27 Nov 2026 00:00:00 GMT"},
    "weak tag": {"tag": 'W/"1"'},
    "neither": {"tag": None},
}


@pytest.mark.parametrize("version", VERSIONS)
def test_a_cut_download_goes_on_where_it_stopped(version: str, server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, [3000, 2000], **VERSIONS[version])
    fetch = partial(download, f"{server.address}/a.zip", sha256(CONTENT), tmp_path)
    for _ in range(2):
        with pytest.raises(ValueError, match="the next start goes on from there"):
            fetch()
        assert names(tmp_path) == {"a.zip.part", "a.zip.part.json"}
    assert fetch().read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 3000, 5000]
    assert names(tmp_path) == {"a.zip"}


def test_a_connection_that_breaks_is_tried_again_at_once(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 5)
    server.files["/a.zip"] = Served(CONTENT, [3000, 2000])
    assert download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path).read_bytes() == CONTENT
    assert [start for _, start in server.asked] == [0, 3000, 5000]
    server.files["/b.zip"] = Served(CONTENT, [100, 0, 100])  # nothing more comes: no use in trying
    with pytest.raises(ValueError, match="goes on from there"):
        download(f"{server.address}/b.zip", sha256(CONTENT), tmp_path)


CHANGED = {
    "the server sees it": ({}, [0, 3000]),
    "the client sees it": ({"lies": True}, [0, 3000, 0]),
    "nobody does": ({"tag": None}, [0, 3000, 0]),
    "no ranges": ({"ranges": False}, [0, 3000]),
}


@pytest.mark.parametrize("case", CHANGED)
def test_parts_of_two_versions_are_not_joined(case: str, server: Any, tmp_path: Path) -> None:
    options, expected = dict(CHANGED[case][0]), CHANGED[case][1]
    lies = options.pop("lies", False)
    other = CONTENT[::-1]
    server.files["/a.zip"] = Served(CONTENT, [3000], **options)
    fetch = partial(download, f"{server.address}/a.zip", sha256(other), tmp_path)
    with pytest.raises(ValueError, match="goes on from there"):
        fetch()
    server.files["/a.zip"] = Served(other, **{"tag": '"2"', **options})
    if lies:  # a server that knows ranges, and no If-Range
        server.files["/a.zip"].modified = '"1"'
    assert fetch().read_bytes() == other
    assert [start for _, start in server.asked] == expected
    assert names(tmp_path) == {"a.zip"}


def test_a_part_that_is_longer_than_the_file_is_thrown_away(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, [3000], tag=None)
    fetch = partial(download, f"{server.address}/a.zip", sha256(CONTENT[:500]), tmp_path)
    with pytest.raises(ValueError, match="goes on from there"):
        fetch()
    server.files["/a.zip"] = Served(CONTENT[:500], tag=None)
    assert fetch().read_bytes() == CONTENT[:500]


def test_a_part_of_another_address_is_not_joined(server: Any, tmp_path: Path) -> None:
    server.files |= {"/x/a.zip": Served(CONTENT, [3000]), "/y/a.zip": Served(CONTENT[::-1])}
    with pytest.raises(ValueError, match="goes on from there"):
        download(f"{server.address}/x/a.zip", sha256(CONTENT), tmp_path)
    other = sha256(CONTENT[::-1])
    assert download(f"{server.address}/y/a.zip", other, tmp_path).read_bytes() == CONTENT[::-1]
    assert server.asked[-1] == ("/y/a.zip", 0)


def test_a_wrong_checksum_is_refused_and_deleted(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT)
    (tmp_path / "a.zip").write_bytes(b"older")
    with pytest.raises(ValueError, match=rf"SHA-256 {sha256(CONTENT)}, expected {'0' * 64}.*deleted"):
        download(f"{server.address}/a.zip", "0" * 64, tmp_path)
    assert names(tmp_path) == {"a.zip"}
    assert (tmp_path / "a.zip").read_bytes() == b"older"


def test_a_file_of_unknown_length_that_is_cut_is_never_taken_for_whole(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, [3000], length=False)
    with pytest.raises(ValueError, match="SHA-256"):
        download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path)
    assert names(tmp_path) == set()
    assert download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path).read_bytes() == CONTENT


def test_a_server_that_points_elsewhere_is_followed_over_http_alone(server: Any, tmp_path: Path) -> None:
    server.files |= {"/b.zip": Served(CONTENT, [3000]), "/a.zip": Served(b"", moved="/b.zip")}
    fetch = partial(download, f"{server.address}/a.zip", sha256(CONTENT), tmp_path)
    with pytest.raises(ValueError, match="goes on from there"):
        fetch()
    assert fetch().read_bytes() == CONTENT
    assert server.asked[-1] == ("/b.zip", 3000)
    for elsewhere in (f"file://{__file__}", "ftp://127.0.0.1/a.zip", "/c.zip"):
        server.files["/c.zip"] = Served(b"", moved=elsewhere)
        with pytest.raises(ValueError, match="can't be downloaded"):
            download(f"{server.address}/c.zip", sha256(CONTENT), tmp_path)


def test_a_server_that_hangs_is_left(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "TIMEOUT", 0.2)
    server.files |= {"/a.zip": Served(CONTENT, seconds=1), "/b.zip": Served(CONTENT)}
    with pytest.raises(ValueError, match=r"nothing came for 0\.2 seconds"):
        download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path)


def test_more_than_there_is_room_for_is_refused(server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transfer, "MOST", 5000)
    for length in (True, False):
        server.files["/a.zip"] = Served(CONTENT, length=length, block=1000)
        with pytest.raises(ValueError, match="5,000"):
            download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("{server}/none.zip", "the server says 404"),
        ("http://127.0.0.1:9/a.zip", "refused"),
        ("http://no-such-host.invalid/a.zip", "can't be downloaded"),
        ("http://h\u00f6st..invalid/a.zip", "can't be downloaded"),
        ("http://127.0.0.1:port/a.zip", "nonnumeric port"),
    ],
)
def test_without_a_network_one_line_says_what_to_do(url: str, reason: str, server: Any, tmp_path: Path) -> None:
    url = url.format(server=server.address)
    with pytest.raises(ValueError, match=reason) as error:
        download(url, "0" * 64, tmp_path)
    said = str(error.value)
    assert "\n" not in said
    for part in (url, f"by hand into {tmp_path}, ", "set dataset.root=FOLDER "):
        assert part in said
    assert names(tmp_path) == set()


@pytest.mark.parametrize(
    "url",
    ["", "a.zip", "file://localhost/etc/hosts", "http://host/", "ftp://host/a.zip", "http://[/a.zip", None, 3]
    + [
        f"http://host/{name}" for name in (".bashrc", "a.py", "a.sh", "..%2fa.zip", ".a.zip", "a" * 200 + ".zip", "zip")
    ],
)
def test_only_an_http_address_of_a_data_file_is_fetched(url: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"^dataset.url: given "):
        download(url, "0" * 64, tmp_path)


def test_a_cache_that_is_no_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"^dataset.cache: given .*file.* expected a folder"):
        download("http://127.0.0.1:9/a.zip", "0" * 64, tmp_path / "file")


# What is seen of it.


def test_lines_say_how_far_it_is(
    server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(transfer, "EVERY", 0.0)
    server.files["/a.zip"] = Served(CONTENT * 20, block=50_000, seconds=0.01)
    download(f"{server.address}/a.zip", None, tmp_path)
    assert caplog.messages[0] == "dataset: a.zip: downloading (0.2 MB)"
    assert "dataset: a.zip: 0.1 MB of 0.2 MB" in caplog.messages
    caplog.clear()
    monkeypatch.setattr(transfer, "EVERY", 5.0)
    server.files["/b.zip"] = Served(CONTENT, block=1000)
    download(f"{server.address}/b.zip", None, tmp_path)
    assert caplog.messages == ["dataset: b.zip: downloading (0.0 MB)"]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("wanted", [True, False])
def test_a_terminal_has_a_bar_where_one_is_wanted(
    wanted: bool, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    token = transfer.shows_bar.set(wanted)
    server.files["/a.zip"] = Served(CONTENT, block=5000, seconds=0.02)
    download(f"{server.address}/a.zip", None, tmp_path)
    transfer.shows_bar.reset(token)
    assert ("a.zip" in terminal.getvalue()) is wanted


# Several processes.

FETCH = """
import logging, sys
from pathlib import Path
from rnn_research.datasets.download import download
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
print(len(download(sys.argv[1], sys.argv[2], Path(sys.argv[3])).read_bytes()))
"""


def test_a_process_that_waits_says_so_and_finds_what_the_other_fetched(server: Any, tmp_path: Path) -> None:
    command = [sys.executable, "-uc", FETCH, f"{server.address}/a.zip", sha256(CONTENT), str(tmp_path)]
    with locked(tmp_path, lambda: None) as ok:
        assert ok
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        assert "another process downloads to" in process.stdout.readline()
        (tmp_path / "a.zip").write_bytes(CONTENT)
    assert process.communicate(timeout=300)[0] == f"{len(CONTENT)}\n"
    assert server.asked == []


def let_on_once_one_waits(started: list[Forked], gate: threading.Event) -> None:
    """Until a process has said that it waits for another, the server sends nothing."""
    until(lambda: any(b"another process downloads to" in one.out.read_bytes() for one in started))
    gate.set()


def test_two_processes_at_once_fetch_a_file_once(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, gate=(gate := threading.Event()))
    given = ["-c", f"{server.address}/a.zip", sha256(CONTENT), str(tmp_path)]
    script = f"import sys\nsys.argv = {given!r}\n{FETCH}"
    started = [begun(script, tmp_path) for _ in range(2)]
    let_on_once_one_waits(started, gate)
    said = [one.communicate(timeout=300)[1].decode() for one in started]
    assert all(one.endswith(f"{len(CONTENT)}\n") for one in said)
    assert len(server.asked) == 1
    assert names(tmp_path) == {"a.zip"}


def test_a_process_that_is_killed_leaves_a_part_and_no_lock(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(CONTENT, block=1000, seconds=0.2)
    command = [sys.executable, "-c", FETCH, f"{server.address}/a.zip", sha256(CONTENT), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        part = tmp_path / "a.zip.part"
        until(lambda: part.is_file() and part.stat().st_size >= 2000)
        assert process.poll() is None
        process.kill()
    assert not (tmp_path / "a.zip").exists()
    server.files["/a.zip"].seconds = 0.0
    assert download(f"{server.address}/a.zip", sha256(CONTENT), tmp_path).read_bytes() == CONTENT
    assert server.asked[-1][1] >= 2000


# Known data.

FILES = {"one.txt": b"1" * 4000, "two.txt": b"2" * 5000}


def known(server: Any, *paths: str, **more: Any) -> PublishedData:
    urls = tuple(f"{server.address}{path}" for path in paths)
    wanted = frozenset(FILES)
    return PublishedData("set", urls, wanted.__contains__, digest_of(FILES), "one and two", "CC0", "A. Uthor.", **more)


def packed(files: dict[str, bytes], above: str = "in/", how: int = zipfile.ZIP_DEFLATED) -> bytes:
    with zipfile.ZipFile(buffer := io.BytesIO(), "w", how) as opened:
        for name, content in files.items():
            opened.writestr(zipfile.ZipInfo(f"{above}{name}"), content, how)
    return buffer.getvalue()


def test_known_files_are_downloaded_once_resumed_and_their_licence_said_once(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO)
    server.files |= {f"/{name}": Served(content) for name, content in FILES.items()}
    server.files["/two.txt"].cuts = [100]
    data = known(server, "/one.txt", "/two.txt")
    with pytest.raises(ValueError, match=rf"fetch \S+/two.txt by hand into {tmp_path / 'own' / 'set'}, or "):
        data.files(None, None)
    assert data.files(None, None) == FILES
    assert server.asked == [("/one.txt", 0), ("/two.txt", 0), ("/two.txt", 100)]
    assert data.files(None, None) == FILES
    assert len(server.asked) == 3
    assert caplog.messages.count("dataset: set (CC0). A. Uthor.") == 1
    monkeypatch.setattr("rnn_research.datasets.licences._said", set())  # as another process
    assert data.files(None, None) == FILES
    assert data.files(tmp_path / "own" / "set", None) == FILES
    assert caplog.messages.count("dataset: set (CC0). A. Uthor.") == 1


def test_files_of_the_users_own_have_no_licence_of_ours(
    server: Any, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    (tmp_path / "one.txt").write_bytes(b"mine")
    assert known(server).files(tmp_path, None) == {"one.txt": b"mine"}
    assert "CC0" not in caplog.text
    assert "differ from those published as set" in caplog.text


def test_an_archive_may_be_packed_anew_and_may_hold_more(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(packed({**FILES, "../../evil.txt": b"x", "read.me": b""}))
    assert known(server, "/a.zip").files(None, str(tmp_path / "cache")) == FILES
    assert names(tmp_path / "cache") == {"set"}
    assert names(tmp_path / "cache" / "set") == {"a.zip"}
    assert not list(tmp_path.rglob("evil*"))


def test_known_data_may_be_an_archive_and_a_file_beside_it(server: Any, tmp_path: Path) -> None:
    server.files |= {"/a.zip": Served(packed({"one.txt": FILES["one.txt"]})), "/two.txt": Served(FILES["two.txt"])}
    assert known(server, "/a.zip", "/two.txt").files(None, str(tmp_path)) == FILES
    assert known(server).files(tmp_path / "set", None) == FILES


@pytest.mark.parametrize("content", [packed({"one.txt": b"other"}), packed({}), b"<html>moved</html>"])
def test_other_files_are_refused_and_deleted(content: bytes, server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(content)
    (tmp_path / "set").mkdir()
    (tmp_path / "set" / "mine.txt").touch()
    with pytest.raises(ValueError, match=r"^dataset.root: .*a\.zip.*deleted.*by hand into") as error:
        known(server, "/a.zip").files(None, str(tmp_path))
    assert "\n" not in str(error.value)
    assert names(tmp_path / "set") == {"mine.txt"}
    server.files["/a.zip"] = Served(packed(FILES))
    assert known(server, "/a.zip").files(None, str(tmp_path)) == FILES


def test_damage_in_the_cache_is_mended(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(packed(FILES))
    data = known(server, "/a.zip")
    data.files(None, str(tmp_path))
    path = tmp_path / "set" / "a.zip"
    path.write_bytes(path.read_bytes()[:-30])
    assert data.files(None, str(tmp_path)) == FILES
    assert len(server.asked) == 2


def test_pieces_of_two_versions_are_fetched_anew(server: Any, tmp_path: Path) -> None:
    """Nothing tells the versions apart but what is in them."""
    content = packed({"one.txt": os.urandom(4000), "two.txt": FILES["two.txt"]})
    server.files["/a.zip"] = Served(content, [1000], tag=None)
    data = known(server, "/a.zip")
    with pytest.raises(ValueError, match="goes on from there"):
        data.files(None, str(tmp_path))
    right = packed({name: FILES[name] for name in FILES})
    server.files["/a.zip"] = Served(right + b"\0" * (len(content) - len(right)), tag=None)  # of one length
    assert data.files(None, str(tmp_path)) == FILES
    assert [start for _, start in server.asked] == [0, 1000, 0]


def test_files_put_there_by_hand_are_taken_packed_or_not(server: Any, tmp_path: Path) -> None:
    data = known(server, "/one.txt.gz", "/two.txt.gz")
    (folder := tmp_path / "set").mkdir()
    with pytest.raises(ValueError, match=r"fetch \S+/one.txt.gz and \S+/two.txt.gz by hand"):
        data.files(None, str(tmp_path))
    (folder / "one.txt.gz").write_bytes(gzip.compress(FILES["one.txt"]))
    with pytest.raises(ValueError, match=r"fetch \S+/two.txt.gz by hand"):
        data.files(None, str(tmp_path))
    (folder / "two.txt").write_bytes(FILES["two.txt"])
    assert data.files(None, str(tmp_path)) == FILES


def test_a_shared_cache_may_be_one_that_only_can_be_read(server: Any, tmp_path: Path) -> None:
    (folder := tmp_path / "set").mkdir()
    for name, content in FILES.items():
        (folder / name).write_bytes(content)
    folder.chmod(0o500)
    try:
        assert known(server, "/one.txt", "/two.txt").files(None, str(tmp_path)) == FILES
        assert names(folder) == set(FILES)
        assert not (folder / ".lock").exists()
    finally:
        folder.chmod(0o700)


def test_another_address_needs_a_checksum(server: Any, tmp_path: Path) -> None:
    data, content = known(server, "/a.zip"), packed({"one.txt": b"mine"})
    server.files["/b.zip"] = Served(content)
    assert data.at(f"{server.address}/b.zip", sha256(content).upper()).files(None, str(tmp_path)) == {
        "one.txt": b"mine"
    }
    for given in (None, "", "0" * 63, 5):
        with pytest.raises(ValueError, match=r"^sha256: given .*64 hexadecimal digits"):
            data.at(f"{server.address}/b.zip", given)
    same = replace(data, sha256=sha256(content))
    with pytest.raises(ValueError, match="SHA-256"):
        same.at(f"{server.address}/b.zip", "1" * 64).files(None, str(tmp_path / "other"))


KNOWN = """
import logging, sys
from rnn_research.datasets.folder_lock import locked
from rnn_research.datasets.known import PublishedData
logging.basicConfig(level=logging.INFO, stream=sys.stdout, format="%(message)s")
wanted = frozenset(("one.txt", "two.txt"))
data = PublishedData("set", ({url!r},), wanted.__contains__, {digest!r}, "one and two", "CC0", "A. Uthor.")
print(sorted(data.files(None, None)))
"""


def test_two_processes_download_known_data_once(server: Any, tmp_path: Path) -> None:
    server.files["/a.zip"] = Served(packed(FILES), gate=(gate := threading.Event()))
    script = KNOWN.format(url=f"{server.address}/a.zip", digest=digest_of(FILES))
    started = [begun(script, tmp_path) for _ in range(2)]
    let_on_once_one_waits(started, gate)
    said = [one.communicate(timeout=300)[1].decode() for one in started]
    assert all(one.endswith("['one.txt', 'two.txt']\n") for one in said)
    assert len(server.asked) == 1


# Archives from elsewhere.


def tarred(content: bytes, extra: tarfile.TarInfo | None = None) -> bytes:
    with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz") as opened:
        (entry := tarfile.TarInfo("../in/one.txt")).size = len(content)
        if extra is not None:
            opened.addfile(extra, io.BytesIO(bytes(extra.size)))
        opened.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "one.txt.gz"])
def test_a_file_that_unpacks_to_too_much_is_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "LARGEST", 10_000)
    pack = {"a.zip": lambda c: packed({"one.txt": c}), "a.tar.gz": tarred, "one.txt.gz": gzip.compress}[name]
    (tmp_path / name).write_bytes(pack(bytes(10_000)))
    assert len(archives.published_files(tmp_path, "one.txt".__eq__, "x")["one.txt"]) == 10_000
    (tmp_path / name).write_bytes(pack(bytes(10_001)))
    with pytest.raises(ValueError, match=r"holds more than 10,000 bytes, which is refused"):
        archives.published_files(tmp_path, "one.txt".__eq__, "x")


def test_what_is_not_wanted_is_not_unpacked_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "UNPACKED", 200_000)
    (other := tarfile.TarInfo("bomb")).size = 10_000_000
    (tmp_path / "a.tar.gz").write_bytes(tarred(b"1", other))
    with pytest.raises(ValueError, match=r"unpacks to more than 200,000 bytes, which is refused"):
        archives.published_files(tmp_path, "one.txt".__eq__, "x")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.tar", "a.tar.xz"])
def test_an_archive_with_bytes_changed_is_read_or_refused_in_one_line(name: str, tmp_path: Path) -> None:
    content, random = packed({"one.txt": CONTENT}) if name == "a.zip" else tarred(CONTENT), Random(0)
    if name in ("a.tar", "a.tar.xz"):
        content = gzip.decompress(content)
        content = lzma.compress(content) if name == "a.tar.xz" else content
    for _ in range(60):
        changed = bytearray(content)
        for _ in range(3):
            place = random.choice((random.randrange(len(changed)), random.randrange(600) % len(changed)))
            changed[place] = random.randrange(256)
        (tmp_path / name).write_bytes(changed[: random.choice((len(changed), random.randrange(len(changed))))])
        try:
            assert archives.published_files(tmp_path, "one.txt".__eq__, "x")
        except ValueError as error:
            assert str(error).startswith("dataset.root: ")  # noqa: PT017
            assert "\n" not in str(error)  # noqa: PT017


def test_a_link_in_an_archive_is_not_followed(tmp_path: Path) -> None:
    (link := tarfile.TarInfo("one.txt")).type = tarfile.SYMTYPE
    link.linkname = "/etc/passwd"
    with tarfile.open(tmp_path / "a.tar", "w") as opened:
        opened.addfile(link)
    with pytest.raises(ValueError, match="has none of the files"):
        archives.published_files(tmp_path, "one.txt".__eq__, "x")


# The data sets with an address of their own.


def test_sst_downloads_to_the_cache_and_reads_the_archive(server: Any, tmp_path: Path, treebank: Path) -> None:
    content = packed({path.name: path.read_bytes() for path in treebank.iterdir()}, "trees/")
    server.files["/t.zip"] = Served(content)
    keys: dict[str, Any] = {"url": f"{server.address}/t.zip", "sha256": sha256(content)}
    assert SST(**keys).fingerprint == SST(str(treebank)).fingerprint
    assert (tmp_path / "own" / "sst" / "t.zip").is_file()
    assert SST(**keys, cache=str(tmp_path / "other")).fingerprint == SST(**keys).fingerprint
    assert (tmp_path / "other" / "sst" / "t.zip").is_file()
    assert len(server.asked) == 2


def test_sst_refuses_an_archive_without_the_treebank(server: Any, tmp_path: Path) -> None:
    for name, content in {"text.zip": b"<html>moved</html>", "other.zip": packed({"x.txt": b""})}.items():
        server.files[f"/{name}"] = Served(content)
        with pytest.raises(ValueError, match=rf"^dataset.root: .*{name}.*train.txt.*dataset.root"):
            SST(url=f"{server.address}/{name}", sha256=sha256(content), cache=str(tmp_path)).load()


def test_nothing_that_a_config_says_is_written_over(server: Any, tmp_path: Path) -> None:
    """A cache that is a folder of the user's: all goes into a folder of its own."""
    (tmp_path / "train.csv").write_text("mine")
    server.files["/train.csv"] = Served(b"theirs")
    with pytest.raises(ValueError, match=r"."):
        SST(url=f"{server.address}/train.csv", sha256=sha256(b"theirs"), cache=str(tmp_path)).load()
    assert (tmp_path / "train.csv").read_text() == "mine"
    assert re.fullmatch(r"sst|own", ",".join(names(tmp_path) - {"train.csv", "own"}))


def as_published(name: str, files: dict[str, bytes]) -> bytes:
    """What a server has under this name: one of the files, or all of them packed, no smaller than they are."""
    if name.endswith(".zip"):
        return packed({**files, "readme.md": b"more"}, how=zipfile.ZIP_STORED)
    if name.endswith(".tar.gz"):
        with tarfile.open(fileobj=(buffer := io.BytesIO()), mode="w:gz", compresslevel=0) as opened:
            for one, content in files.items():
                (entry := tarfile.TarInfo(f"v1/{one}")).size = len(content)
                opened.addfile(entry, io.BytesIO(content))
        return buffer.getvalue()
    return gzip.compress(files[name.removesuffix(".gz")], 0) if name.endswith(".gz") else files[name]


REAL = {
    "trec": Trec.PUBLISHED,
    "sms_spam": SmsSpam.PUBLISHED,
    "multi30k": Multi30k.PUBLISHED,
    "tinyshakespeare": shakespeare.Shakespeare.PUBLISHED,
    "sst": sst.PUBLISHED,
    "fsdd": SpokenDigits.PUBLISHED,
    "japanese_vowels": JapaneseVowels.PUBLISHED,
    "utkinect": SkeletonActions.PUBLISHED,
    "mnist": sequential_mnist.SequentialMNIST.PUBLISHED,
}


LARGE = ("fsdd", "mnist")
"""Those that take a second each; tests of their own read them, and say that they are the published ones."""


@pytest.mark.parametrize(
    "folder", [pytest.param(name, marks=pytest.mark.slow) if name in LARGE else name for name in REAL]
)
def test_the_real_data_come_as_they_are_published_though_every_answer_is_cut(
    folder: str, server: Any, tmp_path: Path, real_data: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "TRIES", 2)
    data, root = REAL[folder], real_data(folder)
    for name, content in real_answers(data, root):
        server.files[f"/{name}"] = Served(content, [len(content) // 2])
    here = tuple(f"{server.address}/{download_name(url)}" for url in data.urls)
    found = replace(data, urls=here, sha256=None).files(None, str(tmp_path))
    assert digest_of({name: content for name, content in found.items() if name not in data.added}) == data.digest
    assert len(server.asked) == 2 * len(here)
    assert all(start > 0 for _, start in server.asked[1::2])


def real_answers(data: PublishedData, root: Path) -> Iterator[tuple[str, bytes]]:
    """What is at each address of a real data set, by its name: the file that is here, packed anew where it must be."""
    names, tars = [download_name(url) for url in data.urls], list(root.glob("*.tar.*"))
    for name in names:
        if (root / name).is_file():
            yield name, (root / name).read_bytes()
        elif tars and name.endswith(".tar.gz"):  # what packed it is seen by its first bytes
            yield name, tars[0].read_bytes()
        else:
            read = data.files(root, None)
            yield name, as_published(name, {one: content for one, content in read.items() if one not in data.added})


OTHER_FILES = {
    SmsSpam: {"SMSSpamCollection": b"ham\thello\nspam\twin\nham\tyes\n"},
    SpokenDigits: {f"{digit}_theo_{number}.wav": b"RIFF" for digit in range(2) for number in range(6)},
    JapaneseVowels: {f"JapaneseVowels_{part}.ts": b"@data\n1,2:a\n" for part in ("TRAIN", "TEST")},
    SkeletonActions: {"joints_s01_e01.txt": b"1 2 3\n", "actionLabel.txt": b"s01_e01\nwalk: 1 2\n"},
}
"""Files by the names of the published ones, of data whose servers may give others than those that are known here."""


@pytest.mark.parametrize("kind", OTHER_FILES)
def test_files_that_a_server_has_changed_are_refused_with_what_to_do(
    kind: Any, server: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, files = kind.PUBLISHED, OTHER_FILES[kind]
    for name in map(download_name, data.urls):
        server.files[f"/{name}"] = Served(as_published(name, files))
    here = tuple(f"{server.address}/{download_name(url)}" for url in data.urls)
    monkeypatch.setattr(kind, "PUBLISHED", replace(data, urls=here))
    with pytest.raises(ValueError, match=r"^(dataset\.)?root: ") as refused:
        kind(cache=str(tmp_path)).task  # noqa: B018
    said = str(refused.value)
    found = digest_of({name: content for name, content in files.items() if name not in data.added})
    assert f"found files with SHA-256 {found}, expected those published as {data.name}, with {data.digest}" in said
    assert f"fetch the files by hand into {tmp_path / data.name}, or set dataset.root to their folder" in said
    assert "\n" not in said
    assert not [one for one in (tmp_path / data.name).iterdir() if one.is_file() and not one.name.startswith(".")]


def test_the_real_data_are_known_by_their_contents(real_data: Any, caplog: pytest.LogCaptureFixture) -> None:
    sst.PUBLISHED.files(real_data("sst"), None)
    Shakespeare(str(real_data("tinyshakespeare"))).files()
    assert "differ" not in caplog.text
