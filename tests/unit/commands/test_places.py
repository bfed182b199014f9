"""Places that cannot be used, other users, signals, four commands at once: through the real command."""

from __future__ import annotations

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from compact_bench.core import files
from compact_bench.core.errors import RunHeldError, UnusableStoreError
from compact_bench.runs.store.store import Store
from tests.unit.command import run_command
from tests.unit.processes import World, ended

Capture = pytest.CaptureFixture[str]


@pytest.fixture
def world(student_folder: Callable[..., Path], tmp_path: Path) -> World:
    return World(tmp_path, student_folder())


def words(suite: Path) -> tuple[str | Path, ...]:
    return ("run", "uniform", "--suite", suite, "--profile", "smoke", "--threads", "1", "--workers", "1")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
@pytest.mark.parametrize("at", ["write", "lock", "tensors"])
def test_a_place_that_cannot_be_used_ends_the_command(
    suite: Path, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch, number: int, at: str
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patch:
        if at == "write":
            patch.setattr(files.os, "fsync", full)
        elif at == "lock":
            patch.setattr("filelock.FileLock.acquire", full)
        else:
            patch.setattr("compact_bench.training.final_weights.seal_folder", full)
        started = time.monotonic()
        done = run_command(capsys, *words(suite))
    assert done.code == 7 and os.strerror(number) in done.err, done.err
    assert len([line for line in done.err.splitlines() if line.startswith("Error")]) == 1
    assert time.monotonic() - started < 60 and "another command" not in done.err
    assert Store(tmp_path / "store").records() == [], "no run is at fault"
    assert run_command(capsys, *words(suite)).code == 0


def test_only_a_lock_that_is_held_means_another_process(tmp_path: Path) -> None:
    store = Store(tmp_path)
    with store.lock("a" * 16), pytest.raises(RunHeldError), Store(tmp_path).lock("a" * 16):
        pass
    (tmp_path / "locks" / f"{'b' * 16}.lock").symlink_to(f"{'b' * 16}.lock")
    with pytest.raises(UnusableStoreError, match="symbolic links"), store.lock("b" * 16):
        pass


def test_a_store_that_is_a_loop_of_links(suite: Path, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "loop").symlink_to("loop")
    done = run_command(capsys, *words(suite), "--store", tmp_path / "loop")
    assert done.code == 7 and "Traceback" not in done.err and "report is in" not in done.err, done.err


@pytest.mark.parametrize("mask", [0o022, 0o002, 0o077])
def test_files_follow_the_umask(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        files.write_atomic(tmp_path / "file", b"")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o666 & ~mask


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs another user")
def test_a_second_user_is_told_whose_store_it_is(tmp_path: Path) -> None:
    store = tmp_path / "store"
    Store(store).root.mkdir()
    for folder in (store, *store.parents):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(0o755)
    code = (
        "import os\nfrom pathlib import Path\nfrom compact_bench.core.files import write_atomic\n"
        f"os.setuid(65534)\nwrite_atomic(Path({str(store / 'x')!r}), b'')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
    )
    assert "Permission denied" in done.stderr and "belongs to user 0, mode 755" in done.stderr


@pytest.mark.slow
@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_says_what_is_kept_and_leaves_the_page(world: World, number: int, code: int) -> None:
    ended(world.start("kept"))
    page = world.folder / "kept" / "RESULTS.md"
    before = page.read_bytes()
    process = world.start("kept", "--seeds", "1,2")
    assert process.stdout is not None
    for line in process.stdout:
        if ": started" in line:
            break
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == code, output
    assert "are kept" in output and "stays as it was" in output and "Traceback" not in output
    assert page.read_bytes() == before


@pytest.mark.slow
def test_four_commands_at_once_share_one_store(world: World) -> None:
    four = [world.start("shared", "--seeds", "1,2", "--output", str(world.folder / name)) for name in "abcd"]
    outputs = [ended(process) for process in four]
    started = [line for output in outputs for line in output.splitlines() if ": started" in line]
    assert len(started) == 12 == len(world.numbers("shared")), "every run was executed once"
    tables = {(world.folder / name / "RESULTS.csv").read_text() for name in "abcd"}
    assert len(tables) == 1
    assert not list((world.folder / "shared").rglob("*.tmp"))
