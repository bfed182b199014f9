"""Runs areas, each in a process of its own, and counts."""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from tests.attack.areas import AREAS, cases_of
from tests.attack.cases import Case, Verdict, dice
from tests.attack.driver import ROOT, SECRET, filled, prepare, run_here, run_real, scratch
from tests.attack.judging import judge
from tests.attack.results import Summary, collected, page, summary_text

REAL_SECONDS = 90.0
"""Time limit of the real command, which imports everything first."""
MEMORY_BYTES = 4 * 2**30
"""Of one process; the tiny students need a tenth of it."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what is asked for; the exit code is 1 where anything failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.attack", description=__doc__)
    parser.add_argument("--areas", default=",".join(AREAS), help="areas, as a,b (default: all)")
    parser.add_argument(
        "--share", type=float, default=1.0, help="share of the in-process inputs, drawn by seed"
    )
    parser.add_argument("--real", type=int, default=200, help="inputs that also go through the real command")
    parser.add_argument("--match", default="", help="only inputs whose name holds this")
    parser.add_argument("--jobs", type=int, default=2, help="areas at a time")
    parser.add_argument("--json", type=Path, default=None, help="where the verdicts are written")
    parser.add_argument("--page", type=Path, default=None, help="where the page of figures is written")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    names = [name for name in options.areas.split(",") if name]
    if options.child:
        verdicts = run_area(names[0], options.share, options.real, options.match)
        options.json.write_text(json.dumps([asdict(verdict) for verdict in verdicts]), encoding="utf-8")
        return
    started = time.monotonic()
    verdicts = run_areas(names, options)
    summary = Summary.of(verdicts, time.monotonic() - started, options.share)
    print(summary_text(verdicts, summary))
    if options.json is not None:
        options.json.write_text(json.dumps(collected(verdicts, summary), indent=1), encoding="utf-8")
    if options.page is not None:
        options.page.write_text(page(verdicts, summary), encoding="utf-8")
    raise SystemExit(1 if summary.failed else 0)


def run_areas(names: Sequence[str], options: argparse.Namespace) -> list[Verdict]:
    """Every area in a child of its own, `jobs` at a time."""
    waiting = list(names)
    # An area with a course of its own starts the real program as it needs it.
    sharing = sum(AREAS[name].run is None for name in names)
    running: list[tuple[str, subprocess.Popen[bytes], Path]] = []
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory() as temporary:
        while waiting or running:
            while waiting and len(running) < options.jobs:
                name = waiting.pop(0)
                file = Path(temporary) / f"{len(waiting)}.json"
                running.append((name, _child(name, file, options, sharing), file))
            for one in list(running):
                name, process, file = one
                if process.poll() is None:
                    continue
                running.remove(one)
                verdicts += _read(name, process.returncode, file)
                print(f"{name}: {sum(v.area == name for v in verdicts)} inputs", file=sys.stderr, flush=True)
            time.sleep(0.2)
    return verdicts


def _child(name: str, file: Path, options: argparse.Namespace, areas: int) -> subprocess.Popen[bytes]:
    words = ["--child", "--areas", name, "--json", str(file), "--share", str(options.share)]
    words += ["--match", options.match, "--real", str(-(-options.real // max(areas, 1)))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    return subprocess.Popen([sys.executable, "-m", "tests.attack", *words], env=environment, cwd=ROOT)


def _read(name: str, code: int, file: Path) -> list[Verdict]:
    if not file.is_file():
        return [Verdict(name, "the area itself", "failed", f"the attack's process ended with {code}")]
    values = json.loads(file.read_text(encoding="utf-8"))
    return [Verdict(**{**value, "words": tuple(value["words"])}) for value in values]


def run_area(name: str, share: float, real: int, match: str) -> list[Verdict]:
    """All inputs of one area in this process, and a sample of them through the real command."""
    for noisy in ("HF_HUB_OFFLINE", "HF_HUB_DISABLE_PROGRESS_BARS"):
        os.environ[noisy] = "1"
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["HF_TOKEN"] = os.environ["ATTACK_SECRET"] = SECRET
    with scratch(Path(tempfile.gettempdir())) as folder:
        os.environ["COMPACT_BENCH_CACHE"] = str(folder / "cache")
        os.environ["TMPDIR"] = str(folder)
        tempfile.tempdir = str(folder)
        area = AREAS[name]
        # A reader without a limit must fail here, and not take the machine with it.
        resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, resource.getrlimit(resource.RLIMIT_DATA)[1]))
        held = area.make_world(folder / "world")
        if area.run is not None:
            return list(area.run(folder / "world", share))
        cases = [case for case in cases_of(name) if match in case.name]
        chosen = [case for case in cases if dice("share", case.name).random() < share]
        verdicts = _run(chosen, folder, run_here)
        verdicts += _run(
            [replace(c, seconds=REAL_SECONDS) for c in stratified(chosen, real)], folder, run_real
        )
        assert held is None or held is not False
        return verdicts


def _run(cases: Iterable[Case], folder: Path, run: Callable[..., object]) -> list[Verdict]:
    lane = "in process" if run is run_here else "real command"
    verdicts = []
    for case in cases:
        with scratch(folder / "cases") as place:
            prepare(case, place)
            done = run(filled(case.words, place, folder / "world"), place, case.seconds)
            verdicts.append(judge(case, done, lane))  # type: ignore[arg-type]
            if verdicts[-1].why and os.environ.get("ATTACK_SHOW"):
                print(f"FAILED {case.name}: {verdicts[-1].why}", file=sys.stderr, flush=True)
    return verdicts


def stratified(cases: Sequence[Case], count: int) -> list[Case]:
    """A sample that takes from every stratum in turn; the same for the same cases."""
    strata: dict[str, list[Case]] = {}
    for case in cases:
        strata.setdefault(case.stratum, []).append(case)
    for name, members in strata.items():
        dice("sample", name).shuffle(members)
    chosen: list[Case] = []
    while len(chosen) < min(count, len(cases)):
        for members in strata.values():
            if members and len(chosen) < count:
                chosen.append(members.pop())
    return chosen
