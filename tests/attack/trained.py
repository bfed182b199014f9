"""A few inputs that are trained on, to the written pages: names that forge, answers in boxes, teachers that lack questions."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from tests.attack import world
from tests.attack.bits import bits
from tests.attack.cases import DATA, Accepted, Case, Check, Either, Refused
from tests.attack.driver import Done
from tests.attack.names import with_name

AREA = "trained"
FORGING = (
    "a|b", "# Results", "## x", "<b>x</b>", "<script>x</script>", "`x`", "*x*", "[x](y)", "$x$", "\\textbf{x}", "a_b_c", "| x | y |", "%",
    "{variant}", "best", "~~x~~", "&lt;b&gt;", "![x](y)", "1. x", "> x",
)  # fmt: skip
"""Names that mean something to a reader of Markdown, HTML or LaTeX."""
SECONDS = 60.0


def make_world(folder: Path) -> Any:
    """The usual world, with tables of rows that show teachers and choose rationales."""
    world.make_world(folder)
    for method in ("right_filter", "majority_filter", "compact", "mcc_kd"):
        text = world.ONE_ROW.replace('"uniform"', f'"{method}"')
        (folder / f"{method}.toml").write_text(text, encoding="utf-8")
    each = world.ONE_ROW.replace(
        'method = "uniform"\ntitle = "Uniform weights"',
        'method = "uniform"\ntitle = "Uniform"\n[[rows]]\nmethod = "single_teacher"\nkind = "each_teacher"\n'
        'title = "Only {variant}"\nsettings = { method = { teacher = "{variant}" } }',
    )
    (folder / "each.toml").write_text(each, encoding="utf-8")
    return world.hold_student(folder)


def case(name: str, table: str, data: bytes, check: Check) -> Case:
    """A file that is trained on."""
    words = list(world.RUN)
    words[words.index("--table") + 1] = f"{{world}}/{table}.toml"
    given = (*words, "--suite", world.SUITE, "--rationales", "{case}/own.jsonl")
    return Case(AREA, name, given, Accepted(check), {"own.jsonl": data}, seconds=SECONDS, stratum=table)


def cases() -> Iterator[Case]:
    """All of the area."""
    for name in FORGING:
        made = case(f"a teacher called {name!r}", "each", with_name(name), pages_are_whole(name))
        reason = "such a name may be refused, or is written escaped"
        yield replace(
            made, expected=Either(Refused(DATA, ("row 1",)), Accepted(pages_are_whole(name)), reason)
        )
    for method in ("right_filter", "majority_filter", "mcc_kd", "compact"):
        for way, form in {
            "boxed": "\\boxed{{{}}}",
            "hashes": "#### {}",
            "final": "The final answer is {}.",
        }.items():
            yield case(f"{method}, answers {way}", method, stated(form), moved)
    for method in ("right_filter", "mcc_kd"):
        yield case(f"{method}, nothing right", method, stated("The answer is {}9."), says_nothing_was_trained)
        yield case(f"{method}, no answers", method, stated("That is all."), says_nothing_was_trained)
    for method in ("compact", "majority_filter"):
        yield case(f"{method}, a teacher lacks a third", method, ragged(), moved)
    yield case("uniform, a teacher lacks a third", "one", ragged(), moved)


def stated(form: str) -> bytes:
    """Rows whose rationales state the gold answer in one way."""
    rows = world.rows()
    for row in rows:
        gold = row["gold_answer"]
        row["rationales"] = {
            "ada": f"We add them. {form.format(gold)}",
            "bob": f"First one, then the other. {form.format(gold)}",
        }
    return world.jsonl(rows)


def ragged() -> bytes:
    """Rows of three teachers, one of whom lacks every third question."""
    rows = world.rows(9, ("ada", "bob", "cyd"))
    for row in rows[::3]:
        del row["rationales"]["cyd"]
    return world.jsonl(rows)


def moved(done: Done) -> str:
    """Whether the run trained, and says so."""
    for name, run in bits(done.folder / "store").items():
        if run["status"] != "done" or run["weights"]["final"] == run["weights"]["base"]:
            return f"{name}: {run['status']}, weights {run['weights']}"
    return ""


def says_nothing_was_trained(done: Done) -> str:
    """Whether a run that trained on nothing is told apart, in the terminal and on the page."""
    page = (done.folder / "out" / "RESULTS.md").read_text(encoding="utf-8")
    states = {run["status"] for run in bits(done.folder / "store").values()}
    if "done" in states:
        return "a run that trained on nothing is called done"
    found = re.compile(r"trained on nothing|untrained|nothing was trained|no rationale", re.IGNORECASE)
    return (
        ""
        if found.search(done.err + done.out) and found.search(page)
        else "nobody is told that nothing was trained"
    )


def pages_are_whole(name: str) -> Callable[[Done], str]:
    """Whether every written page keeps its tables and headings, whatever a teacher is called."""

    def check(done: Done) -> str:
        for path in sorted((done.folder / "out").rglob("*.md")):
            text = path.read_text(encoding="utf-8")
            if why := broken_table(text):
                return f"{path.name}: {why}"
            if "<b>" in text or "<script>" in text:
                return f"{path.name}: raw HTML of a name"
            if any(line.strip() in (name, f"# {name}") for line in text.splitlines() if name.startswith("#")):
                return f"{path.name}: a heading of a name"
        return ""

    return check


def broken_table(text: str) -> str:
    """A table's line with another number of cells than its head, or ""."""
    cells = 0
    for line in text.splitlines():
        if not line.startswith("|"):
            cells = 0
            continue
        count = len(re.findall(r"(?<!\\)\|", line))
        if cells and count != cells:
            return f"a table's line has {count - 1} cells instead of {cells - 1}: {line[:80]}"
        cells = count
    return ""
