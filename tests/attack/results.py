"""Counts, the text at the end, and the page of figures."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tests.attack.cases import SEED, Verdict
from tests.attack.driver import ROOT

KINDS = ("refused clearly", "accepted rightly", "failed")
REAL = "real command"


@dataclass(frozen=True)
class Summary:
    """What a run of the attack came to.

    Attributes:
        areas: area -> kind of verdict -> how many, "tried" among them.
        real: the same, of the inputs that went through the real command.
        commit: of the checkout, with "+" where it had changes.
    """

    areas: dict[str, dict[str, int]]
    real: dict[str, int]
    tried: int
    failed: int
    seconds: float
    seed: int
    commit: str
    python: str
    share: float

    @staticmethod
    def of(verdicts: Sequence[Verdict], seconds: float, share: float = 1.0) -> Summary:
        """Count verdicts; `share` is that of the inputs that were tried."""
        names = list(dict.fromkeys(v.area for v in verdicts))
        return Summary(
            areas={name: _counts([v for v in verdicts if v.area == name]) for name in names},
            real=_counts([v for v in verdicts if v.lane == REAL]),
            tried=len(verdicts),
            failed=sum(v.kind == "failed" for v in verdicts),
            seconds=round(seconds, 1),
            seed=SEED,
            commit=commit(),
            python=platform.python_version(),
            share=share,
        )


def _counts(verdicts: Sequence[Verdict]) -> dict[str, int]:
    counts = Counter(v.kind for v in verdicts)
    return {"tried": len(verdicts), **{kind: counts[kind] for kind in KINDS}}


def commit() -> str:
    """Commit of the checkout."""

    def git(*words: str) -> str:
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True, check=False).stdout

    changed = git("status", "--porcelain", "--untracked-files=no", "--", "compact_bench", "baselines").strip()
    return git("rev-parse", "--short=12", "HEAD").strip() + ("+" if changed else "")


def collected(verdicts: Sequence[Verdict], summary: Summary) -> dict[str, Any]:
    """Everything, as plain data."""
    return {"summary": asdict(summary), "verdicts": [asdict(verdict) for verdict in verdicts]}


def summary_text(verdicts: Sequence[Verdict], summary: Summary) -> str:
    """What is printed at the end: failures one by one, then the counts per area."""
    lines = [f"FAILED {v.area} / {v.name} ({v.lane}): {v.why}" for v in verdicts if v.kind == "failed"]
    head = ("area", "tried", *KINDS)
    rows = [(name, *(counts[k] for k in head[1:])) for name, counts in summary.areas.items()]
    total = ("all", *(sum(counts[k] for counts in summary.areas.values()) for k in head[1:]))
    lines += [
        f"{name:32}" + "".join(f"{value:>18}" for value in values) for name, *values in (head, *rows, total)
    ]
    lines.append(
        f"of these through the real command: {summary.real['tried']}, failed {summary.real['failed']}"
    )
    lines.append(f"{summary.seconds:.0f} s, commit {summary.commit}, seed {summary.seed}")
    return "\n".join(lines)


FIELDS = ("tried", *KINDS, "through the real command", "commit", "seed", "minutes", "kills", "damaged files")
"""What the page must say."""


def page(verdicts: Sequence[Verdict], summary: Summary) -> str:
    """docs/robustness.md, from the verdicts of one run of the attack."""
    head = "| area | tried | refused clearly | accepted rightly | failed |\n|---|---:|---:|---:|---:|\n"
    rows = [(name, *(counts[k] for k in ("tried", *KINDS))) for name, counts in summary.areas.items()]
    total = ("**all**", *(sum(row[n] for row in rows) for n in range(1, 5)))
    table = head + "".join("| " + " | ".join(map(str, row)) + " |\n" for row in (*rows, total))
    kills = summary.areas.get("kills", _counts([]))
    store = summary.areas.get("store", _counts([]))
    failures = [
        f"- {v.area}, {v.lane}: {_plain(v.name)}: {_plain(v.why)}" for v in verdicts if v.kind == "failed"
    ]
    listed = "\n".join(failures) if failures else "None."
    return _PAGE.format(
        table=table.rstrip(),
        real=summary.real,
        kills=kills,
        store=store,
        commit=summary.commit,
        seed=summary.seed,
        python=summary.python,
        minutes=summary.seconds / 60,
        share="" if summary.share >= 1 else f" Only a share of {summary.share:g} of the inputs was tried.",
        failures=listed,
    )


def _plain(text: str) -> str:
    seen = "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)
    return "`" + seen[:160].replace("`", "'").replace("|", "/") + "`"


_PAGE = """# Robustness: what the attack found

This page is written by the attack itself: `python -m tests.attack --page docs/robustness.md`, or `tox -e attack`.

`tests/attack` gives the commands wrong, unusual and hostile inputs: rationale files, values of every setting and option,
suites, tables and sweeps, student folders, answers, a damaged store, and kills. Every input carries the verdict that a user is
entitled to, fixed before the product runs: refused with one message that names the place and says what to do (exit code of a
user's mistake), or accepted with the values that are known beforehand (the questions as read, the setting's value, the bits of
the quiet run). "Failed" is everything else: a traceback, exit code 70, no end within the time limit, a wrong value taken in
silence, a message that does not say where or what to do.

Run at commit {commit}, seed {seed}, Python {python}: {minutes:.1f} minutes.{share}

{table}

- Of these through the real command: {real[tried]} tried, {real[failed]} failed.
- kills: {kills[tried]} tried; in {kills[accepted rightly]} the same command, given again, ended in the same weights, items and probes.
- damaged files: {store[tried]} tried, {store[failed]} not found.

How the verdicts are made:

| area | where its expectations come from |
|---|---|
| rationales | a second reader, written from docs/data-formats.md alone (`tests/attack/reference.py`) |
| settings | documented type and bounds of every field, and what a text plainly means (`kinds.py`) |
| options | the help texts |
| definitions | docs/suites.md, docs/tables.md, docs/sweeps.md; the standard library's TOML reader |
| students | what transformers needs, and that no code of a folder runs |
| trained | that written pages keep their tables, and what a run trained on |
| answers | statements with a known value (`answers.py`); here "refused" is a wrong answer that is not taken for right |
| store | the bits of a quiet run |
| kills | the bits of an uninterrupted run |

## Failures

{failures}
"""
