"""Rationale files: bytes, structure, values and texts, each held against the reference reader."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from tests.attack import reference, world
from tests.attack.cases import DATA, INPUT, Accepted, Case, Check, Either, Expected, Refused, dice
from tests.attack.driver import Done

AREA = "rationales"
WORDS = (*world.PLAN, "--suite", world.SUITE, "--rationales")
Rows = list[dict[str, Any]]


def file_case(
    name: str,
    data: bytes,
    *,
    suffix: str = ".jsonl",
    options: Sequence[str] = (),
    expected: Expected | None = None,
    stratum: str = "",
) -> Case:
    """One file; what is expected of it is what the reference reader says of it, unless `expected` is given."""
    file = f"own{suffix}"
    words = (*WORDS, "{case}/" + file, *options)
    verdict = expected or expectation(data, suffix, drop="drop" in options)
    return Case(AREA, name, words, verdict, {file: data}, stratum=stratum or "files")


def expectation(data: bytes, suffix: str, *, drop: bool = False) -> Expected:
    """The reference reader's verdict."""
    try:
        questions = reference.read(data, suffix, drop=drop)
    except reference.TooFew:
        return Refused(INPUT, (("own" + suffix, "rationale set", "question"),))
    except reference.Wrong as wrong:
        # Of two rows that are one question, either may be named.
        twice = len(wrong.says) == 1 and wrong.says[0].startswith("row ")
        says = () if drop else (("row 2", *wrong.says),) if twice else wrong.says
        return Refused(INPUT, ("own" + suffix, *says))
    odd = any(question.odd for question in questions)
    # Which of the odd ones are dropped is the product's to say.
    taken = Accepted() if odd and drop else Accepted(holds(questions))
    if odd:
        return Either(
            Refused(INPUT, (f"own{suffix}",)),
            taken,
            "control characters in a text: refused, or shown escaped",
        )
    return taken


def holds(questions: Sequence[reference.Read]) -> Check:
    """A check that the command read exactly these questions."""

    def check(done: Done) -> str:
        data = done.session.data
        got = {_plain(q.text): q for q in (*data.training, *data.validation)}
        wanted = {_plain(q.text): q for q in questions}
        if got.keys() != wanted.keys():
            return (
                f"questions read: {len(got)}, in the file: {len(wanted)}, in both: {len(got.keys() & wanted)}"
            )
        for text, question in wanted.items():
            found = got[text]
            if _answer(found.gold_answer) != _answer(question.gold):
                return f"gold answer {question.gold!r} was read as {found.gold_answer!r}"
            texts = sorted((r.teacher, _plain(r.text)) for r in found.rationales if r.text.strip())
            if texts != sorted((name, _plain(text)) for name, text in question.rationales):
                return f"rationales of {text[:30]!r} were read as {texts}"[:300]
        return ""

    return check


def _plain(text: str) -> str:
    return text.strip()


def _answer(text: str) -> str:
    try:
        return f"{float(text) + 0.0:.10g}"
    except ValueError:
        return text.strip().rstrip(".!?;").strip()


# ------------------------------------------------------------------------------------------------- bytes


def byte_cases() -> Iterator[Case]:
    """Cut, changed, doubled and re-encoded files."""
    files = {
        ".jsonl": world.jsonl(world.rows()),
        ".json": json.dumps(world.rows()).encode(),
        "released": json.dumps(world.released(), indent=1).encode(),
    }
    for form, data in files.items():
        suffix = ".json" if form == "released" else form
        random = dice(AREA, "bytes", form)
        for n in range(60):
            cut = random.randrange(len(data))
            yield file_case(f"{form} cut at {cut}", data[:cut], suffix=suffix)
            at, byte = random.randrange(len(data)), random.randrange(256)
            yield file_case(
                f"{form} byte {at} = {byte}", data[:at] + bytes([byte]) + data[at + 1 :], suffix=suffix
            )
            at, mark = random.randrange(len(data)), random.choice(b'{}[]",:\\\n\t 0eE-+.\x00\xff')
            yield file_case(
                f"{form} {bytes([mark])!r} put at {at}", data[:at] + bytes([mark]) + data[at:], suffix=suffix
            )
            if n < 20:
                at, end = sorted(random.sample(range(len(data)), 2))
                end = min(end, at + 40)
                yield file_case(f"{form} without {at}-{end}", data[:at] + data[end:], suffix=suffix)
    yield from _encodings(files[".jsonl"].decode(), files[".json"].decode())


def _encodings(lines: str, whole: str) -> Iterator[Case]:
    accented = lines.replace("apples", "äpfel").replace("pens", "筆")
    for encoding in ("utf-8-sig", "utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7", "cp037", "shift_jis"):
        yield file_case(f"encoded as {encoding}", accented.encode(encoding, "replace"))
    for end in ("\r\n", "\r", "\n\n", "\u2028", "\x0b", "\x85", " \n", ",\n"):
        yield file_case(f"lines end with {end!r}", lines.replace("\n", end).encode())
    for text in (
        "",
        " ",
        "\n\n",
        "[]",
        "{}",
        "null",
        "true",
        "7",
        '"text"',
        "[[]]",
        "[null]",
        "[1, 2]",
        "{",
        "]",
    ):
        for suffix in (".json", ".jsonl"):
            yield file_case(f"{suffix} that is {text!r}", text.encode(), suffix=suffix)
    deep = "[" * 100_000
    for name, text in {
        "nested lists": deep,
        "nested objects": '{"a":' * 100_000,
        "nested in a row": whole.replace('"own-0"', deep),
        "two lists": whole + whole,
        "a comment": "// rationales\n" + whole,
        "trailing comma": whole[:-1] + ",]",
        "single quotes": whole.replace('"', "'"),
        "lines under .json": lines,
    }.items():
        yield file_case(name, text.encode(), suffix=".json")
    yield file_case("a list under .jsonl", whole.encode())
    yield file_case("pretty list under .jsonl", json.dumps(world.rows(), indent=2).encode())


# ------------------------------------------------------------------------------------------------ values

NASTY: tuple[tuple[str, str], ...] = (
    ("null", "null"),
    ("true", "true"),
    ("false", "false"),
    ("zero", "0"),
    ("minus zero", "-0.0"),
    ("huge whole number", "1" + "0" * 400),
    ("longest whole number", "9" * 5000),
    ("infinite", "1e999"),
    ("NaN", "NaN"),
    ("Infinity", "-Infinity"),
    ("tiny", "1e-320"),
    ("a fraction", "0.1"),
    ("empty text", '""'),
    ("blank text", '" \\t\\n"'),
    ("no-break spaces", '"\\u00a0\\u2003"'),
    ("zero width only", '"\\u200b\\u200d\\ufeff"'),
    ("soft hyphens only", '"\\u00ad\\u00ad"'),
    ("direction marks only", '"\\u202e\\u2066"'),
    ("a lone surrogate", '"the sum \\ud800 is 5"'),
    ("a NUL", '"the sum\\u0000 is 5"'),
    ("an escape", '"the \\u001b[31msum is 5"'),
    ("a bell", '"\\u0007"'),
    ("a C1 control", '"the sum \\u009b31m is 5"'),
    ("NaN as text", '"NaN"'),
    ("a list", "[]"),
    ("a list of texts", '["a", "b"]'),
    ("an object", "{}"),
    ("an object with null", '{"ada": null}'),
    ("an emoji", '"the \\ud83d\\ude00 sum is 5 here"'),
    ("right to left", '"\\u05e9\\u05dc\\u05d5\\u05dd 5"'),
    ("combining marks", '"e\\u0301 and 5 a\\u0308"'),
    ("full width", '"\\uff15 is the sum here"'),
    ("HTML", '"<script>alert(5)</script>"'),
    ("a template", '"{{ 7 * 7 }} {% raw %} <|im_end|>"'),
    ("markup", '"| a | [x](y) ## b [red]5[/red]"'),
    ("a path", '"../../../etc/passwd"'),
)
"""Values by name, as JSON."""

OUR_FIELDS = ("id", "question", "gold_answer", "rationales", "rationales.ada")
THEIR_FIELDS = ("Question", "Answer", "CoT", "CoT.1")


def value_cases() -> Iterator[Case]:
    """Every field of both forms with every nasty value, in one row."""
    for form, fields in (("ours", OUR_FIELDS), ("released", THEIR_FIELDS)):
        for field in fields:
            for name, text in NASTY:
                yield file_case(f"{form} {field}: {name}", with_value(form, field, text), stratum=field)
            for drop in (name for name in NASTY if dice(AREA, field, name).random() < 0.25):
                data = with_value(form, field, drop[1])
                yield file_case(
                    f"{form} {field}: {drop[0]}, dropped",
                    data,
                    options=("--on-fault", "drop"),
                    stratum="drop",
                )


def with_value(form: str, field: str, text: str, row: int = 3) -> bytes:
    """JSON Lines with one field of one row replaced by a JSON text."""
    values = copy.deepcopy(world.rows() if form == "ours" else world.released())
    name, _, inner = field.partition(".")
    mark = "@@value@@"
    if not inner:
        values[row][name] = mark
    elif isinstance(values[row][name], list):
        values[row][name][int(inner)] = mark
    else:
        values[row][name][inner] = mark
    return world.jsonl(values).replace(json.dumps(mark).encode(), text.encode())


def structure_cases() -> Iterator[Case]:
    """Rows that are wrong or unusual as a whole."""
    changes: dict[str, Callable[[Rows], Any]] = {
        "no id": lambda r: r[2].pop("id"),
        "no ids at all": lambda r: [row.pop("id") for row in r],
        "no question": lambda r: r[2].pop("question"),
        "no gold answer": lambda r: r[2].pop("gold_answer"),
        "no rationales": lambda r: r[2].pop("rationales"),
        "both forms": lambda r: r[2].update(Question="x", CoT=["y"], Answer="5"),
        "a released field": lambda r: r[2].update(CoT=["y", "z"]),
        "the released answer": lambda r: r[2].update(Answer="5"),
        "numbers as ids": lambda r: [row.update(id=n) for n, row in enumerate(r)],
        "an id as number and text": lambda r: (r[1].update(id=7), r[2].update(id="7")),
        "an id twice": lambda r: r[2].update(id=r[1]["id"]),
        "a question twice": lambda r: r[2].update(question=r[1]["question"]),
        "a question in capitals": lambda r: r[2].update(question=r[1]["question"].upper()),
        "a question spaced": lambda r: r[2].update(question="  " + r[1]["question"].replace(" ", "  ")),
        "a row twice": lambda r: r.append(dict(r[1])),
        "one row": lambda r: r.__delitem__(slice(1, None)),
        "two rows": lambda r: r.__delitem__(slice(2, None)),
        "gold as number": lambda r: r[2].update(gold_answer=27),
        "gold as fraction": lambda r: r[2].update(gold_answer=27.0),
        "rationales listed": lambda r: [row.update(rationales=listed(row)) for row in r],
        "one row listed": lambda r: r[2].update(rationales=listed(r[2])),
        "a listed one without text": lambda r: r[2].update(rationales=[{"teacher": "ada"}]),
        "a listed one without teacher": lambda r: r[2].update(rationales=[{"text": "5 is it."}]),
        "a listed number": lambda r: r[2].update(rationales=[1, 2]),
        "ragged: one lacks bob": lambda r: r[2]["rationales"].pop("bob"),
        "ragged: half lack bob": lambda r: [row["rationales"].pop("bob") for row in r[::2]],
        "ragged: another teacher once": lambda r: r[2]["rationales"].update(cyd="Hence 5."),
        "several samples": lambda r: [row.update(rationales=[*listed(row), sample("ada")]) for row in r],
        "several samples once": lambda r: r[2].update(rationales=[*listed(r[2]), sample("ada")]),
        "one teacher": lambda r: [row["rationales"].pop("bob") for row in r],
        "teachers in another order": lambda r: r[2].update(
            rationales=dict(reversed(r[2]["rationales"].items()))
        ),
        "equal rationales": lambda r: r[2]["rationales"].update(bob=r[2]["rationales"]["ada"]),
    }
    for name, change in changes.items():
        values = world.rows()
        change(values)
        yield file_case(name, world.jsonl(values), stratum="structure")
        yield file_case(
            f"{name}, as a list", json.dumps(values).encode(), suffix=".json", stratum="structure"
        )
    lines, gold = world.jsonl(world.rows()).decode(), world.rows()[2]["gold_answer"]
    for name, text in {
        "a key twice": lines.replace('"id": "own-2"', '"id": "own-2", "id": "own-z"'),
        "an answer twice": lines.replace(
            f'"gold_answer": "{gold}"', f'"gold_answer": "{gold}", "gold_answer": "24"'
        ),
        "a teacher twice": lines.replace('"ada": "So we add 17', '"ada": "No.", "ada": "So we add 17'),
    }.items():
        yield file_case(name, text.encode(), expected=Refused(DATA, ("row 3",)), stratum="structure")


def listed(row: dict[str, Any]) -> list[dict[str, str]]:
    """A row's rationales as a list."""
    return [{"teacher": name, "text": text} for name, text in row["rationales"].items()]


def sample(teacher: str) -> dict[str, str]:
    """A further sample of a teacher."""
    return {"teacher": teacher, "text": "Wait, let me add them again. So it holds."}


def cases() -> Iterator[Case]:
    """All of the area."""
    from tests.attack import names, overlaps

    yield from byte_cases()
    yield from value_cases()
    yield from structure_cases()
    yield from names.cases()
    yield from overlaps.cases()
