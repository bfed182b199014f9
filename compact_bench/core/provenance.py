"""Where a number comes from: code, packages, hardware. No paths, no host names, no user names."""

from __future__ import annotations

import functools
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from compact_bench import __version__
from compact_bench.core.paths import package_folder

PACKAGES = ("torch", "transformers", "peft", "accelerate", "lm_eval", "datasets", "tokenizers", "numpy")
"""Distributions whose version can move a result."""

GIB = 1024**3


def collect_provenance(**more: Any) -> dict[str, Any]:
    """Everything a reader needs to judge, or repeat, a run; `more` is added as it is.

    Returns:
        Plain data: "code", "packages", "python", "platform", "hardware", and `more`.
    """
    return {
        "code": code_version(),
        "packages": package_versions(),
        "python": platform.python_version(),
        "platform": f"{_system()} {platform.machine()}".strip(),
        "hardware": hardware(),
        **more,
    }


def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on; "not installed" where one is missing."""
    versions = {"compact_bench": __version__}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions


@functools.cache
def code_version() -> str:
    """The commit the code is from ("1a2b3c4d5e6f", "1a2b3c4d5e6f with local changes"), else the version."""
    package = package_folder()
    commit = _checkout_commit(package) or _installed_commit()
    return commit or f"version {__version__}"


def _checkout_commit(package: Path) -> str | None:
    # An environment inside somebody's own repository is not a checkout of this code, so git must know
    # this very file.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    commit = _git(package, "rev-parse", "--short=12", "HEAD")
    if not commit:
        return None
    beside = [name for name in ("baselines", "paper_tables") if (package.parent / name).is_dir()]
    watched = [str(package), *(str(package.parent / name) for name in beside)]
    changes = _git(package, "status", "--porcelain", "--untracked-files=normal", "--", *watched)
    return f"{commit} with local changes" if changes else commit


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _installed_commit() -> str | None:
    """Commit that pip noted (PEP 610) when the package was installed from a repository."""
    try:
        text = importlib.metadata.distribution("compact-bench").read_text("direct_url.json")
        commit = json.loads(text or "{}").get("vcs_info", {}).get("commit_id")
    except (importlib.metadata.PackageNotFoundError, ValueError, AttributeError):
        return None
    return str(commit)[:12] if commit else None


def hardware() -> dict[str, Any]:
    """CPU model, cores, threads torch uses, memory and GPU of this machine."""
    import torch

    gpus: list[str] = []
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "cpu": _cpu_model(),
        "cores": usable_cores(),
        "threads": torch.get_num_threads(),
        "memory_gib": _memory_gib(),
        "gpu": ", ".join(gpus) if gpus else "none",
        "cuda": torch.version.cuda if gpus else None,
    }


def _system() -> str:
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return f"{platform.system()} {platform.release()}"


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip().lower() in ("model name", "hardware", "cpu model") and value.strip():
            return value.strip()
    return platform.processor() or platform.machine() or "unknown"


def usable_cores() -> int:
    """Cores this process may use, which in a container are fewer than the machine has."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity is not None else (os.cpu_count() or 1)


def _memory_gib() -> float | None:
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None
    return round(total / GIB, 1)


def flat(provenance: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested provenance as "hardware.cpu" -> text, in key order."""
    entries: dict[str, str] = {}
    for name in sorted(provenance):
        value = provenance[name]
        if isinstance(value, Mapping):
            entries |= flat(value, f"{prefix}{name}.")
        else:
            entries[f"{prefix}{name}"] = "none" if value is None else str(value)
    return entries
