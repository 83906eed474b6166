"""The command `rnn-sweep`: works on a sweep's folder, and says what is in it.

`status`, `retry`, `reset`, `gc` and `export` import neither torch, lightning nor hydra.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from functools import partial
from pathlib import Path

from rnn_research.cli.arguments import PlainParser
from rnn_research.cli.console import forgiving, on_terminal
from rnn_research.cli.telling import say as say_as
from rnn_research.cli.telling import tell
from rnn_research.errors import UsageError
from rnn_research.sweeps import store, upkeep
from rnn_research.sweeps.status import RunStatus, as_json, counted, status

SHOWN = 40
"""Runs that `status` prints a line for, of those that are not done."""
EVERY = 2.0
"""Seconds between two looks of `--watch`."""
say = partial(say_as, command="rnn-sweep")


def main(argv: list[str] | None = None) -> None:
    """Entry point of `rnn-sweep`. Exits with 0; 1 where a run failed; 2 for a mistake in what was asked for; 130 after
    Ctrl-C, 143 after SIGTERM, 129 after SIGHUP."""
    with forgiving():
        try:
            arguments = _parsed(sys.argv[1:] if argv is None else argv)
            code = arguments.do(arguments)
        except (UsageError, store.DamagedQueue) as error:
            say(str(error))
            sys.exit(2)
        except OSError as error:
            say(f"{error.filename or ''}: {error.strerror or error}")
            sys.exit(2)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
    sys.exit(code)


def _parsed(argv: list[str]) -> argparse.Namespace:
    """The arguments, with an OUT that stands after an option, where argparse looks for none."""
    parser = _parser()
    arguments, more = parser.parse_known_args(argv)
    if len(more) == 1 and not more[0].startswith("-") and getattr(arguments, "out", "") is None:
        arguments.out, more = Path(more[0]), []
    if more:
        parser.error(f"unrecognized arguments: {' '.join(more)}")
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = PlainParser(prog="rnn-sweep", description=(__doc__ or "").partition("\n")[0])
    verbs = parser.add_subparsers(required=True, metavar="VERB")

    def verb(name: str, do: object, line: str) -> argparse.ArgumentParser:
        found = verbs.add_parser(name, help=line, description=line)
        found.add_argument("folder", type=Path, metavar="FOLDER", help="the sweep's, as hydra.sweep.dir said")
        found.set_defaults(do=do)
        return found

    one = verb("work", _work, "train what is left in this process; as many processes as you like, on any machine")
    one.add_argument("--limit", type=int, metavar="N", help="train at most so many runs")
    one.add_argument("--retry", type=int, default=0, metavar="N", help="how often a run that failed is tried again")
    one.add_argument("--fail-fast", action="store_true", help="stop at the first run that fails")
    one.add_argument("--patience", type=float, default=60.0, metavar="SECONDS", help=PATIENCE)
    one.add_argument("--trust", action="store_true", help="runs may use code from config folders that they name")
    one = verb("status", _status, "print the state of every run")
    one.add_argument("--watch", action="store_true", help="again and again, until nothing is left to do")
    one.add_argument("--json", action="store_true", help="all of it, for programs")
    one.add_argument("--all", action="store_true", help="a line for every run")
    one = verb("retry", _retry, "let the runs that failed be trained again")
    one.add_argument("--yes", action="store_true", help="without asking")
    one = verb("reset", _reset, "remove what runs that failed, diverged or stopped have left, to begin them anew")
    one.add_argument("--all", action="store_true", help="those that are done too")
    one.add_argument("--yes", action="store_true", help="without asking")
    one = verb("gc", _gc, "remove files that nothing needs any more")
    one.add_argument("--checkpoints", action="store_true", help="checkpoints of runs that are done too")
    one.add_argument("--yes", action="store_true", help="without asking")
    one = verb("export", _export, "pack records and tables into one zip, for others to compare")
    one.add_argument("out", type=Path, nargs="?", metavar="OUT", help="the archive (default: FOLDER.zip)")
    one.add_argument("--checkpoints", action="store_true", help="weights and the queue too")
    return parser


PATIENCE = "after so long without a sign, a process on another machine counts as gone"


def _known(folder: Path) -> Path:
    if not folder.is_dir():
        raise UsageError(f"{folder}: is not a folder; expected that of a sweep, as hydra.sweep.dir said")
    return folder


def _queue(folder: Path) -> Path:
    if not (_known(folder) / store.QUEUE).is_dir():
        raise UsageError(f"{folder}: has no queue; expected the folder of a sweep that rnn-train -m began")
    return folder


def _work(given: argparse.Namespace) -> int:
    from rnn_research.cli import telling
    from rnn_research.cli.process import answering, leave, noticed, stop, uncollected
    from rnn_research.sweeps import claims
    from rnn_research.sweeps.worker import Event, Rules

    for name, least in (("limit", 1), ("retry", 0), ("patience", 1)):
        if (value := getattr(given, name)) is not None and value < least:
            raise UsageError(f"--{name}: given {value}, expected at least {least}")
    folder = _queue(given.folder)
    with answering(partial(leave, discard=claims.release_all)), uncollected():
        from rnn_research.config.queue import work
    codes, heard, reasons = [0], list[int](), set[str]()

    def told(event: Event) -> None:
        label = f"#{event.run.number + 1} {event.run.label}"
        if event.left_out:
            store.remove(event.run)
            telling.left_out(event, label, reasons, "rnn-sweep")
        elif event.what != "began":
            codes.append(telling.event_line(event, label, "rnn-sweep"))

    rules = Rules(None, given.retry, given.fail_fast, given.limit, False, given.patience)
    try:
        with answering(partial(stop, heard=heard)), noticed():
            count = work(folder, rules=rules, trust=given.trust, progress=on_terminal(sys.stderr), tell=told)
    except KeyboardInterrupt:
        say("interrupted; the same command goes on")
        sys.exit(128 + (heard or [signal.SIGINT])[-1])
    tell(f"{count} {'run was' if count == 1 else 'runs were'} trained here; {counted(status(folder))}")
    return max(codes)


def _status(given: argparse.Namespace) -> int:
    folder = _known(given.folder)
    while True:
        found = status(folder)
        if given.json:
            tell(as_json(folder, found))
        else:
            _print(folder, found, given.all, clear=given.watch and on_terminal(sys.stdout))
        if not given.watch or all(run.state in (*store.FINAL, "failed", "damaged") for run in found):
            return 0
        time.sleep(EVERY)


def _print(folder: Path, found: list[RunStatus], every: bool, clear: bool) -> None:
    shown = [run for run in found if every or run.state not in ("done", "pending")]
    lines = [run.line() for run in shown[: len(shown) if every else SHOWN]]
    if len(lines) < len(shown):
        lines.append(f"... and {len(shown) - len(lines)} more (--all)")
    count = len(found)
    lines.append(f"{count} {'run' if count == 1 else 'runs'} in {folder}: {counted(found) or 'none'}")
    if clear:
        rows = os.get_terminal_size().lines - 1
        tell("\x1b[2J\x1b[H" + "\n".join(lines[-rows:]))
    else:
        tell("\n".join(lines))


def _agreed(what: str, lines: list[str], yes: bool) -> bool:
    """Say what is to be done; ask on a terminal.

    Raises:
        UsageError: nobody can be asked.
    """
    for line in lines:
        tell(line)
    if not lines:
        tell("nothing to do")
        return False
    tell(what)
    if yes:
        return True
    if not on_terminal(sys.stdin):
        raise UsageError("nobody can be asked here; add --yes to do it")
    sys.stderr.write("do it? [y/N] ")
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in ("y", "yes")


def _retry(given: argparse.Namespace) -> int:
    found = upkeep.to_retry(_queue(given.folder))
    lines = [f"#{run.number + 1} {run.label}: failed {store.failures(run.folder)} times" for run in found]
    if _agreed(f"{len(found)} runs will be trained again by the next worker, from their checkpoints", lines, given.yes):
        for run in found:
            upkeep.retry(run)
        tell(f"rnn-sweep work {given.folder} trains them")
    return 0


def _reset(given: argparse.Namespace) -> int:
    found = upkeep.to_reset(_queue(given.folder), given.all)
    lines = [f"#{run.number + 1} {run.label}: {run.folder}" for run in found]
    if _agreed(f"all that these {len(found)} runs have left will be removed", lines, given.yes):
        for run in found:
            if not upkeep.reset(run):
                say(f"#{run.number + 1}: another process has it now; left alone")
        tell(f"rnn-sweep work {given.folder} trains them anew")
    return 0


def _gc(given: argparse.Namespace) -> int:
    found = list(upkeep.to_collect(_queue(given.folder), given.checkpoints))
    size = sum(path.stat().st_size for path in found) / 1e6
    lines = [str(path) for path in found]
    if _agreed(f"these {len(found)} files will be removed, {size:.1f} MB", lines, given.yes):
        for path in found:
            path.unlink(missing_ok=True)
    return 0


def _export(given: argparse.Namespace) -> int:
    from rnn_research.sweeps.export import contents, pack

    folder = _known(given.folder)
    whole = folder.resolve()
    out = given.out or whole.with_name(f"{whole.name or 'runs'}.zip")
    if os.path.lexists(out):
        raise UsageError(f"{out}: is there already, nothing was written over; give another OUT")
    found = contents(folder, given.checkpoints)
    for reason, names in found.left_out.items():
        say(f"left out {names[0]}{f' and {len(names) - 1} more' if names[1:] else ''}: {reason}")
    if not found.runs:
        raise UsageError(f"{folder}: no run.json at or below it that can be packed; nothing was written")
    if not out.resolve().parent.is_dir():
        raise UsageError(f"{out}: its folder is not there; make it, or give another OUT")
    try:
        pack(found, out)
    except OSError as error:
        raise UsageError(f"{out}: can't be written ({error.strerror or error}); give another OUT") from error
    count = f"{found.runs} run{'s' * (found.runs > 1)}"
    tell(f"{count} ({len(found.files)} files, {out.stat().st_size / 1e6:.1f} MB) in {out}")
    return 0


if __name__ == "__main__":
    main()
