"""Compile C once, keep it, load it.

Libraries are kept in the folder that `records.cache_folder` names. `$CC` names another compiler and
`$RNN_RESEARCH_CFLAGS` further flags. A library's name is a hash of its source, the headers, the flags, the compiler's
version and the CPU's features. `cache` says which folder and which file are loaded from.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import functools
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from rnn_research.records.cache_folder import cache_folder
from rnn_research.unroll.compiled import cache

FLAGS = (
    "-std=gnu11",
    "-fno-semantic-interposition",
    "-shared",
    "-fPIC",
    "-pthread",
)
EXACT = ("-fno-fast-math", "-fno-math-errno", "-fno-trapping-math", "-ffp-contract=off", "-nostartfiles")
"""What numbers come out. After the user's flags, since what the engine promises rests on these: no -ffast-math, which
hides NaN and (by a start file) makes the whole process flush subnormal numbers to zero, and no multiplication fused
with an addition but where kernel.h says so, as a compiler fuses one copy of the same code and not the other."""
HERE = Path(__file__).parent
TIMEOUT = 120  # seconds for one file: an update compiles in about one
FULL = re.compile("No space left|quota exceeded", re.IGNORECASE)
"""What a compiler says of a folder without room; some linkers say nothing of it."""
ROOM = 1 << 20  # bytes that a library takes at the most, with what is made on the way


class Unavailable(Exception):
    """No native code can be made here: says why."""


def load(source: str, double: bool, level: str = "-O1") -> ctypes.CDLL:
    """The library compiled from C text (which may include kernel.h), optimised as far as `level`: of an update, whose
    vectors are written out, -O2 makes nothing faster and takes half as long again.

    Raises:
        Unavailable: no compiler, or it does not compile.
    """
    return _load_all([(source, level)], double, 1)[0]


def _load_all(sources: Sequence[tuple[str, str]], double: bool, compilers: int) -> list[ctypes.CDLL]:
    """The libraries of several texts, each with its level: those that are new here all at once. Raises as `load`."""
    wanted = [(text, double, level, *settings()) for text, level in sources]
    new = [one for one in dict.fromkeys(wanted) if one not in _LOADED]
    if len(new) > 1:
        with ThreadPoolExecutor(compilers) as pool:
            found = list(pool.map(lambda one: _load(*one), new))
    else:
        found = [_load(*one) for one in new]
    _LOADED.update(zip(new, found, strict=True))
    return [_LOADED[one] for one in wanted]


_LOADED: dict[tuple[Any, ...], ctypes.CDLL] = {}
"""What this process has loaded: to start threads takes as long as all the rest where nothing is compiled."""


def settings() -> tuple[str | None, str, str]:
    """What is compiled with and where it is kept, as the environment says now: the compiler, flags, the folder."""
    return os.environ.get("CC"), os.environ.get("RNN_RESEARCH_CFLAGS", ""), str(_folder())


def driver(double: bool) -> ctypes.CDLL:
    """The library that folds, with the products that it calls.

    Raises:
        Unavailable: nothing can be compiled here.
    """
    return driver_and([], double, 2)[0]


def driver_and(texts: Sequence[str], double: bool, compilers: int) -> tuple[ctypes.CDLL, dict[str, ctypes.CDLL]]:
    """The driver, and the library of each text: what is to be compiled all at once. Raises as `load`."""
    of_driver = [(_text(name), "-O2") for name in ("kernel.c", "products.c")]
    found, products, *others = _load_all([*of_driver, *((text, "-O1") for text in texts)], double, compilers)
    table = ctypes.c_int.in_dll(products, "products")
    ctypes.c_void_p.in_dll(found, "matrix").value = ctypes.addressof(table)
    return found, dict(zip(texts, others, strict=True))


def width() -> str:
    """What vectors native code has here, in words.

    Raises:
        Unavailable: nothing can be compiled here.
    """
    bits, fuses = (ctypes.c_int32.in_dll(driver(False), name).value for name in ("vector_bits", "fuses"))
    return f"{bits} bits, {'fused' if fuses else 'separate'} multiply and add"


def _load(source: str, double: bool, level: str, cc: str | None, extra: str, folder: str) -> ctypes.CDLL:
    compiler = _compiler(cc)
    flags = [*FLAGS, level, *_for_this_cpu(compiler), *_words(extra), *EXACT, *(["-DDOUBLE"] if double else [])]
    headers = [path.read_text(encoding="utf-8") for path in sorted(HERE.glob("*.h"))]
    key = hashlib.sha256(
        "\0".join([*headers, source, *compiler, *flags, _version(compiler), _cpu()]).encode()
    ).hexdigest()
    path = Path(folder) / f"{key[:32]}.so"
    found = None
    if why := _unsafe(folder):
        cache.say(f"native code is compiled for this process alone, since others may change what is kept: {why}")
    else:
        found = _open(path) or _made(source, [*compiler, *flags], path)
    if found is None:  # the folder can't be written to, or not loaded from: for this process alone
        try:
            path = Path(_private()) / path.name
            _compile(source, [*compiler, *flags], path)
        except OSError as error:
            raise Unavailable(f"{path.parent} can't be written to ({error.strerror or error})") from error
        found = _open(path)
    if found is None:
        raise Unavailable(f"{path} can't be loaded")
    return found


@functools.cache
def _unsafe(folder: str) -> str:
    return cache.unsafe(Path(folder))


def _made(source: str, command: list[str], path: Path) -> ctypes.CDLL | None:
    """The library, made here or by another process meanwhile; None where the folder can't be written to."""
    try:
        with cache.turn(path):
            found = _open(path)
            if found is None:
                cache.sweep(path.parent)
                _compile(source, command, path)
                found = _open(path)
            return found
    except OSError:
        return None


def _open(path: Path) -> ctypes.CDLL | None:
    """The library, where the file is whole, and can't be another user's."""
    try:
        return None if cache.read(path) is None else ctypes.CDLL(str(path))
    except OSError:
        return None


def _compile(source: str, command: list[str], path: Path) -> None:
    """Compile into a file that appears whole.

    Raises:
        OSError: the folder can't be written to, or is full.
        Unavailable: it does not compile.
    """
    said = cache.saying(f"compiling native code for this machine: once, it is kept in {path.parent}")
    with said, tempfile.TemporaryDirectory(dir=path.parent, prefix=".making-") as folder:
        text, made = Path(folder) / "source.c", Path(folder) / "library.so"
        text.write_text(source, encoding="utf-8")
        try:
            done = subprocess.run(
                [*command, f"-I{HERE}", str(text), "-o", str(made), "-lm"],
                capture_output=True,
                text=True,
                errors="replace",
                timeout=TIMEOUT,
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            raise Unavailable(f"{command[0]}: {error}") from error
        if done.returncode and (FULL.search(done.stderr) or shutil.disk_usage(folder).free < ROOM):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path.parent))
        if done.returncode or not made.exists():
            first = next((line for line in done.stderr.splitlines() if "error" in line), f"exit code {done.returncode}")
            raise Unavailable(f"{command[0]} could not compile: {first.strip()}")
        cache.put(made, path)


@functools.cache
def _text(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError as error:
        raise Unavailable(f"CC or RNN_RESEARCH_CFLAGS: {text!r} can't be read ({error})") from error


@functools.cache
def _compiler(cc: str | None) -> list[str]:
    names = [cc] if cc else ["cc", "gcc", "clang"]
    for name in names:
        command = _words(name)
        if command and shutil.which(command[0]):
            return command
    raise Unavailable(f"no C compiler: CC={cc} is not there" if cc else "no C compiler (cc, gcc, clang) on the path")


@functools.cache
def _version_of(command: tuple[str, ...]) -> str:
    try:
        done = subprocess.run(
            [*command, "--version"], capture_output=True, text=True, errors="replace", timeout=TIMEOUT
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{command[0]}: {error}") from error
    if done.returncode or not done.stdout:
        raise Unavailable(f"{shlex.join(command)} --version failed: it is no compiler")
    return done.stdout


def _version(command: list[str]) -> str:
    return _version_of(tuple(command))


def _for_this_cpu(compiler: list[str]) -> list[str]:
    """The vectors that this CPU has; clang on arm spells it otherwise."""
    arm = platform.machine().lower() in ("arm64", "aarch64")
    return ["-mcpu=native"] if arm else ["-march=native"]


@functools.cache
def _cpu() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith(("flags", "Features")):
                return line
    return f"{platform.machine()} {platform.processor()}"


def _folder() -> Path:
    return cache_folder() or Path(_private())


@functools.cache
def _private() -> str:
    """A folder of this process, gone with it."""
    from multiprocessing.util import Finalize  # `atexit` is not heard in a process of multiprocessing

    folder = tempfile.mkdtemp(prefix="rnn_research-")
    Finalize(None, shutil.rmtree, (folder, True), exitpriority=0)
    return folder
