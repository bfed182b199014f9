"""Gives commands as a user would, in this process or as the real program, with a time limit each."""

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
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from unittest import mock

from tests.attack.cases import Case

ROOT = Path(__file__).parents[2]
SECRET = "hf_" + "attackSecretAttackSecret"
"""Stands in the environment of every command; no output may hold it."""


class Hang(BaseException):
    """A command that did not end in its time; no handler of the product may take it for an error."""


@dataclass
class Done:
    """A command that ended, or did not.

    Attributes:
        code: exit code; None where it hung or raised something out of `main`.
        problem: what was raised out of `main`, or "hang".
        sessions: every session that the command opened, in order.
        sections: the plans that it showed or executed.
    """

    code: int | None
    out: str
    err: str
    seconds: float
    folder: Path
    problem: str = ""
    sessions: list[Any] = field(default_factory=list)
    sections: list[Any] = field(default_factory=list)

    @property
    def session(self) -> Any:
        """The last session, which the command worked with."""
        return self.sessions[-1]

    @property
    def keys(self) -> list[Any]:
        """Keys of the planned runs."""
        return [run.key for section in self.sections for run in section.runs]


def filled(words: Sequence[str], case: Path, world: Path) -> list[str]:
    """The words with the places' paths in them."""
    return [word.replace("{case}", str(case)).replace("{world}", str(world)) for word in words]


def prepare(case: Case, folder: Path) -> None:
    """Make a case's files in its empty folder."""
    for name, data in case.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    if case.prepare is not None:
        case.prepare(folder)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises `Hang` in whatever still runs after `seconds`, and afterwards too where that was swallowed."""
    rang = False

    def ring(_signal: int, _frame: Any) -> None:
        nonlocal rang
        rang = True
        raise Hang

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if rang:
            raise Hang


@contextlib.contextmanager
def _watched(done: Done) -> Iterator[None]:
    """Notes sessions and plans as the command makes them."""
    from compact_bench.commands import reproduce, sweep
    from compact_bench.runs import session

    opened = session.Session.__init__

    def init(self: Any, *args: Any, **more: Any) -> None:
        opened(self, *args, **more)
        done.sessions.append(self)

    with contextlib.ExitStack() as stack:
        stack.enter_context(mock.patch.object(session.Session, "__init__", init))
        for module in (reproduce, sweep):
            for name in ("show_plan", "execute_plan"):
                real = getattr(module, name)

                def noting(sections: Any, *args: Any, _real: Any = real, **more: Any) -> Any:
                    done.sections.extend(sections)
                    return _real(sections, *args, **more)

                stack.enter_context(mock.patch.object(module, name, noting))
        yield


def run_here(words: Sequence[str], folder: Path, seconds: float) -> Done:
    """`compact-bench WORDS` in this process, from the folder `folder`."""
    from compact_bench.cli import main

    out, err = io.StringIO(), io.StringIO()
    done = Done(None, "", "", 0.0, folder)
    started = time.monotonic()
    before, environment = Path.cwd(), dict(os.environ)
    os.chdir(folder)
    # `yes |` is how a folder's code got to run: nobody here answers anything else.
    with (
        mock.patch.object(sys, "stdin", io.StringIO("y\n" * 1000)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        warnings.catch_warnings(),
        _watched(done),
    ):
        warnings.simplefilter("ignore")
        try:
            with time_limit(seconds):
                main(list(words))
        except SystemExit as ended:
            done.code = ended.code if isinstance(ended.code, int) else 0 if ended.code is None else 1
        except Hang:
            done.problem = "hang"
        except BaseException as error:
            done.problem = f"{type(error).__name__}: {error}"[:300]
    os.chdir(before)
    os.environ.clear()
    os.environ.update(environment)
    done.out, done.err, done.seconds = out.getvalue(), err.getvalue(), time.monotonic() - started
    return done


def run_real(words: Sequence[str], folder: Path, seconds: float) -> Done:
    """The same words to a program of its own."""
    done = Done(None, "", "", 0.0, folder)
    started = time.monotonic()
    try:
        ended = subprocess.run(
            [sys.executable, "-m", "compact_bench", *words],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            input=b"y\n" * 1000,
            capture_output=True,
            timeout=seconds,
            check=False,
        )
        done.code = ended.returncode
        done.out, done.err = (text.decode(errors="replace") for text in (ended.stdout, ended.stderr))
    except subprocess.TimeoutExpired:
        done.problem = "hang"
    except ValueError as error:
        # A NUL in an argument: no shell can give it either.
        done.code, done.err = 2, f"Error: expected an argument without NUL ({error})"
    done.seconds = time.monotonic() - started
    return done


def error_log(folder: Path, err: str) -> str:
    """The last line of the report that an unexpected error wrote, and where it was raised."""
    name = err.rsplit("report is in ", 1)[-1].strip().split("\n")[0]
    try:
        lines = Path(name).read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except (OSError, ValueError):
        return ""
    places = [line.strip() for line in lines if line.strip().startswith("File ")]
    return f"{lines[-1][:200]} at {places[-1].split('/')[-1] if places else '?'}"


@contextlib.contextmanager
def scratch(root: Path) -> Iterator[Path]:
    """A fresh folder below `root` that is gone afterwards."""
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=root))
    try:
        yield folder
    finally:
        for path in folder.rglob("*"):
            if path.is_dir() and not path.is_symlink():
                path.chmod(0o700)
        shutil.rmtree(folder, ignore_errors=True)
