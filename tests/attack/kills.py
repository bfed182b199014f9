"""Kills `reproduce` at a hundred instants; each time the same command must end in the same bits.

Most kills happen at a counted file operation (before or after the n-th rename, flush, folder or removal), so that
every border between two steps of a run is met: weights and probes, weights and record, record and `done`. The others
come after a delay, also in the middle of a write. The command runs in a forked process that has the libraries
already; a few are the real program.
"""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from tests.attack import world
from tests.attack.bits import bits, difference
from tests.attack.cases import Verdict, dice
from tests.attack.driver import ROOT, filled, run_here, scratch

AREA = "kills"
COUNTED, DELAYED, REAL = 64, 30, 6
WORDS = (
    *world.RUN,
    "--suite",
    world.SUITE,
    "--set",
    "checkpoint_seconds=0",
    "--set",
    "epochs=2",
    "--set",
    "lora.dropout=0.2",
)
SECONDS = 120.0
OPERATIONS = (
    (os, "replace"),
    (os, "rename"),
    (os, "fsync"),
    (os, "mkdir"),
    (os, "unlink"),
    (os, "rmdir"),
    (shutil, "rmtree"),
)


def make_world(folder: Path) -> Any:
    """The usual world with the bits of an uninterrupted run."""
    world.make_world(folder)
    held = world.hold_student(folder)
    quiet = folder / "quiet"
    quiet.mkdir()
    # Given once more in a fresh folder: the first has read libraries, the second is what is timed.
    for name in ("warm", "quiet"):
        (folder / name).mkdir(exist_ok=True)
        os.environ["COMPACT_BENCH_CACHE"] = str(folder / name / "cache")
        done = run_here(filled(WORDS, folder / name, folder), folder / name, SECONDS)
        assert done.code == 0, done.err + done.problem
    (folder / "seconds").write_text(str(done.seconds), encoding="utf-8")
    return held


def run(folder: Path, share: float) -> Iterator[Verdict]:
    """Kill and give the command again, a hundred times."""
    wanted = bits(folder / "quiet" / "store")
    seconds = float((folder / "seconds").read_text(encoding="utf-8"))
    operations = counted(folder)
    random = dice(AREA)
    spread = [round((n + 0.5) * operations / COUNTED) for n in range(COUNTED)]
    plans: list[tuple[str, Callable[[Path], int]]] = []
    for n, at in enumerate(spread):
        plans.append(
            (
                f"{'after' if n % 2 else 'before'} file operation {at}",
                counting_kill(folder, at, after=bool(n % 2)),
            )
        )
    for n in range(DELAYED):
        delay = (n + random.random()) / DELAYED * seconds
        plans.append((f"after {(n + 0.5) / DELAYED:.2f} of its time", delayed_kill(folder, delay)))
    for n in range(REAL):
        plans.append((f"the real command, {n + 1} of {REAL}", real_kill(folder, 2.0 + n)))
    for number, (name, kill) in enumerate(plans):
        if dice(AREA, number).random() >= share:
            continue
        started = time.monotonic()
        with scratch(folder / "killed") as place:
            deaths = [kill(place)]
            if number % 5 == 0:
                # Killed again while it continues.
                deaths.append(delayed_kill(folder, random.random() * seconds)(place))
            why = resumed(folder, place, wanted)
        kind = "failed" if why else "accepted rightly"
        said = "" if signal.SIGKILL in deaths else " (it had ended)"
        yield Verdict(
            AREA, f"{number + 1}: {name}{said}", kind, why, seconds=round(time.monotonic() - started, 3)
        )


def child(work: Callable[[], None], seconds: float, kill_after: float | None = None) -> int:
    """Runs `work` in a forked process.

    Returns:
        0 when it ended well, the number of the signal that killed it, or minus its exit code.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    deadline = time.monotonic() + (seconds if kill_after is None else kill_after)
    while True:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.WTERMSIG(status) if os.WIFSIGNALED(status) else -os.waitstatus_to_exitcode(status)
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            return int(signal.SIGKILL) if kill_after is not None else -int(signal.SIGALRM)
        time.sleep(0.002)


def command(folder: Path, place: Path) -> int:
    """The command in this process, in silence; its exit code."""
    from compact_bench.cli import main

    os.environ["COMPACT_BENCH_CACHE"] = str(place / "cache")
    os.chdir(place)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()) as err:
        try:
            main(filled(WORDS, place, folder))
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
    (place / "code").write_text(str(code), encoding="utf-8")
    (place / "err").write_text(err.getvalue(), encoding="utf-8")
    return code


def counting(at: int, *, after: bool, note: Callable[[int], None] | None = None) -> None:
    """Makes this process kill itself at its `at`-th file operation; `note` is told every count."""
    count = 0

    def counted_operation(real: Callable[..., Any]) -> Callable[..., Any]:
        def operation(*args: Any, **more: Any) -> Any:
            nonlocal count
            count += 1
            mine = count
            if note is not None:
                note(count)
            if mine == at and not after:
                os.kill(os.getpid(), signal.SIGKILL)
            result = real(*args, **more)
            if mine == at and after:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return operation

    for module, name in OPERATIONS:
        setattr(module, name, counted_operation(getattr(module, name)))


def counted(folder: Path) -> int:
    """How many file operations the whole command makes."""
    with scratch(folder / "killed") as place:
        total = place / "operations"

        def work() -> None:
            last = [0]
            counting(0, after=False, note=lambda n: last.__setitem__(0, n))
            command(folder, place)
            total.write_text(str(last[0]), encoding="utf-8")

        assert child(work, SECONDS) == 0
        return int(total.read_text(encoding="utf-8"))


def counting_kill(folder: Path, at: int, *, after: bool) -> Callable[[Path], int]:
    """A command that dies at a counted operation."""

    def kill(place: Path) -> int:
        def work() -> None:
            counting(at, after=after)
            command(folder, place)

        return child(work, SECONDS)

    return kill


def delayed_kill(folder: Path, delay: float) -> Callable[[Path], int]:
    """A command that is killed after a delay in seconds."""
    return lambda place: child(lambda: command(folder, place) and None, SECONDS, kill_after=delay)


def real_kill(folder: Path, delay: float) -> Callable[[Path], int]:
    """The real program, killed after a delay in seconds."""

    def kill(place: Path) -> int:
        words: Sequence[str] = [sys.executable, "-m", "compact_bench", *filled(WORDS, place, folder)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "COMPACT_BENCH_CACHE": str(place / "cache")}
        with tempfile.TemporaryFile() as sink:
            process = subprocess.Popen(words, env=environment, cwd=place, stdout=sink, stderr=sink)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(delay)
            process.kill()
            return -process.wait()

    return kill


def resumed(folder: Path, place: Path, wanted: dict[str, Any]) -> str:
    """Gives the command once more, to its end; what is wrong with where it ends, or ""."""
    (place / "code").unlink(missing_ok=True)
    died = child(lambda: command(folder, place) and None, SECONDS)
    if died == -int(signal.SIGALRM):
        return "hang: the command that continues does not end"
    try:
        code = int((place / "code").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return f"the command that continues died with {died}"
    if code != 0:
        return f"exit {code}: {(place / 'err').read_text(encoding='utf-8').strip()[-250:]}"
    if why := difference(wanted, bits(place / "store")):
        return f"silent wrong acceptance: {why}"
    same = (place / "out" / "RESULTS.csv").read_bytes() == (
        folder / "quiet" / "out" / "RESULTS.csv"
    ).read_bytes()
    return "" if same else "silent wrong acceptance: RESULTS.csv differs"
