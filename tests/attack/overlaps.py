"""Own questions that are the test's, or nearly; files that are no files; rows that are too long."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from tests.attack import reference, world
from tests.attack.cases import ANY, DATA, INPUT, Accepted, Case, Check, Either, Refused
from tests.attack.driver import Done
from tests.attack.rationales import AREA, WORDS, file_case, holds

TEST_QUESTIONS = (
    "Ann finds 11 pears and then 5 more pears. How many pears is that?",
    "Joe finds 15 coins and then 7 more coins. How many coins is that?",
    "How do you open a door?",
)
"""Of the tiny suite, which every row is compared with."""
EXACT = ("{}", "{} ", "  {}", "{}\n", "{}!!")
NEAR = ("Please solve: {}", "{} Think step by step.", "Question: {}")


def _with_question(text: str) -> bytes:
    rows = world.rows()
    rows[3]["question"] = text
    return world.jsonl(rows)


def cases() -> Iterator[Case]:
    """Exact overlaps are refused, near ones are told by id before training."""
    for question in TEST_QUESTIONS:
        ways = [form.format(question) for form in EXACT] + [question.upper(), question.replace(" ", "   ")]
        for text in ways:
            refused = Refused(DATA, ("own-3",))
            yield file_case(
                f"test question as {text!r}", _with_question(text), expected=refused, stratum="overlap"
            )
        rest = [q for q in reference.read(_with_question("@")) if q.text != "@"]
        dropped = Accepted(holds(rest))
        data = _with_question(question)
        options = ("--on-fault", "drop")
        yield file_case(f"dropped: {question!r}", data, options=options, expected=dropped, stratum="overlap")
    for question in TEST_QUESTIONS[:2]:
        for text in (*(form.format(question) for form in NEAR), question.replace("finds", "sees")):
            data = _with_question(text)
            told = Accepted(_both(holds(reference.read(data)), _tells("own-3")))
            yield file_case(f"near {text!r}", data, expected=told, stratum="near")
            rest = [q for q in reference.read(data) if q.text != text]
            for way, verdict in (
                ("refuse", Refused(DATA, ("own-3",))),
                ("drop", Accepted(holds(rest))),
                ("keep", Accepted(holds(reference.read(data)))),
            ):
                options = ("--on-overlap", way)
                yield file_case(
                    f"near, {way}: {text!r}", data, options=options, expected=verdict, stratum="near"
                )
    for way in ("stop", "", "DROP", "nothing"):
        verdict2 = Refused(ANY, (("on-overlap", "'--on-overlap'"),))
        yield file_case(
            f"--on-overlap {way!r}",
            world.jsonl(world.rows()),
            options=("--on-overlap", way),
            expected=verdict2,
        )
    yield from long_cases()
    yield from place_cases()


def _tells(name: str) -> Check:
    def check(done: Done) -> str:
        return "" if name in done.err + done.out else f"no warning names the near duplicate {name}"

    return check


def _both(one: Check, other: Check) -> Check:
    return lambda done: one(done) or other(done)


def long_cases() -> Iterator[Case]:
    """Long texts, many rows, many teachers."""
    for field in ("question", "rationales"):
        rows = world.rows()
        text = "Therefore we add one more and so on. " * 2000
        if field == "question":
            rows[3]["question"] = text
        else:
            rows[3]["rationales"]["ada"] = text
        verdict = Refused(DATA, (("row 4", "own-3"),))
        yield file_case(f"a long {field}", world.jsonl(rows), expected=verdict, stratum="long")
    for name, text in (("no spaces", "a" * 60_000), ("dots", "The answer is " + "." * 40_000)):
        rows = world.rows()
        rows[3]["rationales"]["ada"] = text
        verdict = Refused(DATA, (("row 4", "own-3"),))
        yield file_case(f"a long rationale of {name}", world.jsonl(rows), expected=verdict, stratum="long")
    many = {f"t{n}": f"So it is {n}. The answer is {n}." for n in range(200)}
    rows = [{**row, "rationales": many} for row in world.rows(3)]
    data = world.jsonl(rows)
    yield file_case(
        "two hundred teachers", data, expected=Accepted(holds(reference.read(data))), stratum="long"
    )
    rows = [{**row, "id": f"{row['id']}-{n}", "question": f"{row['question']} Case {chr(97 + n % 26)}{n}x."}
            for n in range(40) for row in world.rows(12)]  # fmt: skip
    data = world.jsonl(rows)
    yield file_case("480 rows", data, expected=Accepted(holds(reference.read(data))), stratum="long")


def place_cases() -> Iterator[Case]:
    """Paths that are no readable file."""

    def folder(case: Path) -> None:
        (case / "own.jsonl").mkdir()

    def loop(case: Path) -> None:
        (case / "own.jsonl").symlink_to("own.jsonl")

    def broken(case: Path) -> None:
        (case / "own.jsonl").symlink_to("nothing")

    def pipe(case: Path) -> None:
        os.mkfifo(case / "own.jsonl")

    makers = {"a folder": folder, "a link to itself": loop, "a broken link": broken, "missing": None}
    for name, make in makers.items():
        words = (*WORDS, "{case}/own.jsonl")
        yield Case(AREA, name, words, Refused(ANY - {1}, ("own.jsonl",)), prepare=make, stratum="places")
    words = (*WORDS, "{case}/own.jsonl")
    refused = Refused(ANY - {1}, ("own.jsonl",))
    yield Case(AREA, "a pipe that nobody writes", words, refused, prepare=pipe, stratum="places", seconds=8)
    for text in ("/dev/null", "/dev/zero", "~nobody/own.jsonl", "", "a\nb.jsonl", "x" * 5000, "~/none.jsonl"):
        named = "--rationales" if not text else (text[:20], "rationale")
        verdict = Refused(ANY - {1}, (named,) if text else ())
        expected = (
            Either(verdict, Accepted(), "no file given is the suite's own questions") if not text else verdict
        )
        yield Case(AREA, f"--rationales {text[:20]!r}", (*WORDS, text), expected, stratum="places", seconds=8)
    good = world.jsonl(world.rows())
    taken = Accepted(holds(reference.read(good)))

    def link(case: Path) -> None:
        (case / "real file.jsonl").write_bytes(good)
        (case / "own.jsonl").symlink_to("real file.jsonl")

    yield Case(AREA, "a link to a file", words, taken, prepare=link, stratum="places")
    for name in (
        "own file.jsonl",
        "öwn.jsonl",
        "own.JSONL",
        "own.ndjson",
        "own",
        "own.txt",
        "-own.jsonl",
        "[own].jsonl",
    ):
        yield Case(
            AREA, f"a file called {name}", (*WORDS, "{case}/" + name), taken, {name: good}, stratum="places"
        )
    assert INPUT
