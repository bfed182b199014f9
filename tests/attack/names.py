"""Teachers' names: which may stand in a file, and which `--teachers` may choose."""

from __future__ import annotations

import json
from collections.abc import Iterator

from tests.attack import reference, world
from tests.attack.cases import ANY, DATA, Accepted, Case, Either, Expected, Refused
from tests.attack.rationales import AREA, WORDS, expectation, file_case, holds

ONE_LINE_NAMES = (
    "a b", "gpt-4o", "Gemini 1.5 (Flash)", "Ада", "教師", "اسم", "é", "e\u0301", "a|b", "a]b", "[b]", "*x*",
    "# x", "`x`", "<b>x</b>", "&amp;", "{variant}", "$x$", "\\textbf{x}", "%", "a_b", "~", "'", '"', "a/b",
    "../x", "-x", "--help", "=1+1", "@x", "😀", "0", "1e5", "true", "null", "nan", "[red]x[/red]", "__class__",
    "x" * 60, "teacher_1", "uniform", "compact", "CON", ".", "..",
)  # fmt: skip
"""Names that a reader can see on one line: they are taken, and written escaped."""
MARKS = ",@:[]{}"
"""Characters of options and of the names of rows and runs; docs/data-formats.md says that they are refused."""
STEERING = (
    "a\nb", "a\rb", "a\tb", "a\x00b", "a\x1b[31mb", "a\x07", "\x7fa", "a\u0085b", "a\u202eb", "a\u2066b",
    "a\u200bb", "a\u2028b", "a\u2029b", "\u200b", "\ufeffa", "", " ", "\u00a0", "a\ud800",
    "x\n\n## Results\n\n| forged |", "\n", "a\u00adb",
)  # fmt: skip
"""Names that forge lines, steer a terminal, or cannot be seen."""
RESERVED = ("best", "BEST", "best]", "all", "table", "claims")
"""Words that rows and options use; a teacher may be called so if nothing confuses the two."""
UNTYPABLE = ("a,b", "a, b", " a", "a ", "a@b", "x" * 400)
"""Names that an option cannot choose, or a table cannot show."""


def with_name(name: str) -> bytes:
    """Rows whose second teacher has a name."""
    rows = world.rows()
    for row in rows:
        row["rationales"] = {"ada": row["rationales"]["ada"], name: row["rationales"]["bob"]}
    # Escaped, so that a lone surrogate can be written at all.
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def cases() -> Iterator[Case]:
    """Names in files and on the command line."""
    for name in ONE_LINE_NAMES:
        data = with_name(name)
        taken = Accepted(holds(reference.read(data)))
        marked = any(mark in name for mark in MARKS) or name in (".", "..")
        reason = "a mark of rows, settings or pages may be refused by name, or is written escaped"
        one = Either(Refused(DATA, ("row 1", "rationales")), taken, reason) if marked else taken
        yield file_case(f"teacher called {name!r}", data, expected=one, stratum="names")
    # docs/data-formats.md: two names must differ in more than case ("ada" is there already).
    for name in ("Ada", *STEERING):
        verdict = Refused(DATA, ("row 1", "rationales"))
        yield file_case(f"teacher called {name!r}", with_name(name), expected=verdict, stratum="names")
    for name in (*RESERVED, *UNTYPABLE):
        data = with_name(name)
        taken = Accepted(holds(reference.read(data)))
        reason = "typed keys tell it from the reserved word, or it is refused by name"
        verdict2 = Either(Refused(DATA, ("row 1", "rationales")), taken, reason)
        yield file_case(f"teacher called {name!r}", data, expected=verdict2, stratum="names")
    yield from option_cases()


def option_cases() -> Iterator[Case]:
    """`--teachers` beside a file of named rationales, and beside the released form."""
    rows = world.rows(teachers=("ada", "bob", "cyd"))
    data = world.jsonl(rows)
    for text, kept in {
        "ada": ["ada"],
        "bob,ada": ["bob", "ada"],
        " ada , cyd ": ["ada", "cyd"],
        "ada,bob,cyd": ["ada", "bob", "cyd"],
        "": ["ada", "bob", "cyd"],
    }.items():
        chosen = [{**r, "rationales": {n: r["rationales"][n] for n in kept}} for r in rows]
        yield case(f"--teachers {text!r}", data, text, expectation(world.jsonl(chosen), ".jsonl"))
    for text in ("zoe", "ada,zoe", "Ada", "ada@long", "ada;bob", "ada bob", "ADA", "*", "ada,ada", ",", "@"):
        wrong = Refused(ANY - {1}, (tuple(part for part in text.split(",") if part) or "--teachers",))
        verdict: Expected = wrong
        if text in ("ada,ada", ","):
            taken = ["ada"] if text == "ada,ada" else ["ada", "bob", "cyd"]
            chosen = [{**r, "rationales": {n: r["rationales"][n] for n in taken}} for r in rows]
            same = expectation(world.jsonl(chosen), ".jsonl")
            assert isinstance(same, Accepted)
            verdict = Either(
                Refused(ANY - {1}, (("teacher", "names"),)), same, "a name twice is one name; nothing is all"
            )
        yield case(f"--teachers {text!r}", data, text, verdict)
    theirs = world.jsonl(world.released())
    for text, good in {"x,y": True, "x": False, "x,y,z": False, "x,x": False}.items():
        named = [{**r, "rationales": dict(zip(("x", "y"), r["rationales"].values(), strict=True)), "id": None}
                 for r in world.rows()]  # fmt: skip
        verdict = expectation(world.jsonl(named), ".jsonl") if good else Refused(ANY - {1}, (("CoT", "x"),))
        yield case(f"released, --teachers {text!r}", theirs, text, verdict)


def case(name: str, data: bytes, teachers: str, expected: Expected) -> Case:
    """A file with a value of `--teachers`."""
    words = (*WORDS, "{case}/own.jsonl", "--teachers", teachers)
    return Case(AREA, name, words, expected, {"own.jsonl": data}, stratum="teachers")
