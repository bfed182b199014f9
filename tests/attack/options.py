"""Every other option: seeds, methods, profiles, suites, students, tables, places, numbers of threads."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.attack import world
from tests.attack.cases import ANY, USAGE, Accepted, Case, Check, Either, Expected, Refused
from tests.attack.driver import ROOT, Done

AREA = "options"
PLAN = (*world.PLAN, "--suite", world.SUITE)
MANY_SEEDS = 100
"""More than anybody runs; whether such a list is refused is the product's choice."""
LARGE_SEED = 2**31 - 1
"""Larger seeds may be refused, as libraries below do not take them."""

SEEDS = (
    "1", "2", "0", "1,2,3", "3,1,2", "1-3", "1-1", "5-7,1", " 1 , 2 ", "1,", ",1", "1,,2", "", " ", ",", "-", "-1",
    "1-", "-3--1", "3-1", "1-3-5", "1.0", "1.5", "1e1", "1e3", "0x1", "1_0", "010", "+1", "1;2", "1 2", "1:3", "1..3",
    "a", "one", "null", "true", "nan", "inf", "1,a", "1-a", "a-1", "1,1", "1-3,2", "1-99999999999", "0-100000000",
    "99999999999999999999", "2147483648", "4294967296", "1-1000", "9" * 400, "9" * 5000, "\u0661", "\uff11", "\u00b2",
    "1\u20132", "1\u22122", "\u2460", "1\n2", "1\t2", "1\u200b", "\u200b", "[1]", "(1)", "{1}", "1/2", "*", "1-*", "--",
    "1,2,3,4,5,6,7,8,9,10", "1 - 3", "1- 3", "1 -3", "\x1b[31m1", "1\u202e", "\U0001f600", "1,-2", "~", "1#", "\ud800",
)  # fmt: skip


def seeds_of(text: str) -> tuple[int, ...] | None:
    """What a text says, plainly: whole numbers and ranges of them, with commas; None where it says nothing."""
    seeds: list[int] = []
    for part in text.split(","):
        match = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        if match is None or len(part) > 300:
            return None
        low, high = int(match[1]), int(match[2] or match[1])
        if high < low or high - low > 10 * MANY_SEEDS:
            return None
        seeds.extend(range(low, high + 1))
    return tuple(seeds)


def seed_cases() -> Iterator[Case]:
    """`--seeds`."""
    for text in SEEDS:
        seeds, trimmed = seeds_of(text), seeds_of(re.sub(r",+", ",", re.sub(r"\s", "", text)).strip(","))
        refused = Refused(USAGE, ("--seeds",))
        expected: Expected = refused
        if not text:
            expected = Accepted(has_seeds((1,)))
        elif seeds is not None:
            once = tuple(dict.fromkeys(seeds))
            strict = (
                len(once) < len(seeds) or len(seeds) > MANY_SEEDS or max(seeds) > LARGE_SEED or "010" in text
            )
            expected = Accepted(has_seeds(once))
            if strict:
                expected = Either(
                    refused, expected, "twice, many or large seeds may be refused, never changed"
                )
        elif text in ("\u0661", "\uff11"):
            expected = Either(refused, Accepted(has_seeds((1,))), "digits of another script are digits")
        elif trimmed is not None and re.fullmatch(r"[0-9,\- ]*", text):
            expected = Either(
                refused, Accepted(has_seeds(trimmed)), "spaces and empty parts may be passed over"
            )
        elif not re.sub(r"[\s,]", "", text):
            expected = Either(refused, Accepted(has_seeds((1,))), "no seed given is the profile's")
        yield Case(AREA, f"--seeds {text[:30]!r}", (*PLAN, "--seeds", text), expected, stratum="seeds")


def has_seeds(seeds: tuple[int, ...]) -> Check:
    """A check that runs of exactly these seeds are planned, in this order."""

    def check(done: Done) -> str:
        got = tuple(dict.fromkeys(key.seed for key in done.keys))
        return "" if got == seeds else f"expected the seeds {seeds}, got {got}"

    return check


def registered() -> list[str]:
    """Names of the packaged methods, from their files."""
    return [*sorted(path.stem for path in (ROOT / "baselines").glob("[a-z]*.py")), "compact"]


def method_cases() -> Iterator[Case]:
    """`--methods`, and the argument of `run`."""
    table = tuple(word if word != "{world}/one.toml" else "2" for word in PLAN)
    for name in registered():
        # A method may not be able to run on this suite; its name is never refused.
        yield Case(AREA, f"--methods {name}", (*table, "--methods", name), Accepted(), stratum="methods")
        for wrong in (
            name[:-1] + "_x",
            name.upper(),
            name + "[",
            name + "[nothing]",
            f"{name} {name}x",
            name + "\u200b",
        ):
            refused = Refused(USAGE, (("method", "variant", "row", "argument"),))
            yield Case(AREA, f"--methods {wrong!r}", (*table, "--methods", wrong), refused, stratum="methods")
    for text, methods in {
        "uniform,compact": {"uniform", "compact"}, " uniform , compact ": {"uniform", "compact"},
        "compact[no-consensus]": {"compact"}, "uniform,uniform": {"uniform"}, "compact[equal-weights],mot": {"compact", "mot"},
    }.items():  # fmt: skip
        check = has_methods(methods)
        yield Case(
            AREA, f"--methods {text!r}", (*table, "--methods", text), Accepted(check), stratum="methods"
        )
    for text in ("compact[]", "[no-consensus]", "compact[no-consensus", "compact]no-consensus[", "compact[NO-CONSENSUS]",
                 "../uniform", "uniform.py", "os", "baselines.uniform", "_replies", "__init__", "1", "*", "uniform;compact",
                 "\x1b[31muniform", "un\niform", "-uniform", "\U0001f600", "x" * 20_000, "compact[temperature=2]"):  # fmt: skip
        refused = Refused(USAGE, (("method", "variant", "row", "file", "name"),))
        yield Case(AREA, f"--methods {text[:30]!r}", (*table, "--methods", text), refused, stratum="methods")
        words = (
            "run",
            text,
            "--suite",
            world.SUITE,
            "--profile",
            "smoke",
            "--store",
            "{case}/store",
            "--offline",
        )
        refused = Refused(USAGE)
        yield Case(AREA, f"run {text[:30]!r}", words, refused, stratum="methods")


def has_methods(methods: set[str]) -> Check:
    """A check that runs of exactly these methods are planned."""

    def check(done: Done) -> str:
        got = {key.method for key in done.keys}
        return "" if got == methods else f"expected runs of {methods}, got {got}"

    return check


WRONG: dict[str, tuple[str, ...]] = {
    "--profile": ("", "lite", "SMOKE", "smoke ", "nothing", "../smoke", "smoke\n", "\x1b[31msmoke", "x" * 5000, "smoke:trial", "1"),
    "--suite": ("", "nothing", "svmap", "LAB", "../lab", "lab.toml", "/dev/null", "/", ".", "{world}", "{case}/none.toml",
                "x" * 5000, "lab\n", "\x1b[31mlab", "http://127.0.0.1/x.toml", "lab;ls", "\ud800.toml", "lab@", "lab@9", "lab@1@1", "lab @1"),
    "--student": ("nothing", "/dev/null", "/", "{case}", "a/b/c", "../x", "~nobody", "org/", "/model", "org/name@", "x" * 300,
                  "org name/x", "\x1b[31mx/y", "lab-studen", "lab-student@", "lab-student@9", "http://127.0.0.1/x", "org/name\n", "{world}/suite/suite.toml"),
    "--device": ("", "gpu", "CPU", "cuda:99", "cuda:-1", "cuda:x", "cpu:7", "tpu", "meta", "mps", "cuda:0:0", "\x1b[31mcpu"),
    "--threads": ("-1", "1.5", "x", "", "1e3", "999999999999999999999", "0x1", "nan", "true", " "),
    "--workers": ("-1", "1.5", "x", "", "1e3", "999999999999999999999", "nan", "true"),
    "--on-fault": ("", "STOP", "ignore", "keep", "drop,stop", "1", "\x1b[31mdrop"),
    "--table": ("", "3", "two", "table_", "2;5", "../2", "{case}/none.toml", "{world}/suite/suite.toml", "/dev/null", "2.0",
                "x" * 5000, "\x1b[31m2"),
}  # fmt: skip
"""Option -> values that must be refused."""


def option_cases() -> Iterator[Case]:
    """Options with wrong values, options that do not exist, and sound ones."""
    for option, values in WRONG.items():
        for text in values:
            words = list(PLAN)
            for given in (option, "--suite" if option == "--suite" else option):
                if given in words:
                    at = words.index(given)
                    del words[at : at + 2]
            refused = Refused(ANY - {1})
            yield Case(AREA, f"{option} {text[:40]!r}", (*words, option, text), refused, stratum=option)
    refused = Refused(USAGE)
    for words2 in (
        ("--nothing",),
        ("--seed", "1"),
        ("--set",),
        ("extra",),
        ("--seeds", "1", "--seeds"),
        ("-x",),
    ):
        yield Case(AREA, f"words {words2}", (*PLAN, *words2), refused, stratum="words")
    for words2 in (("reproduse",), ("runn", "uniform"), ("run",), ("show",), ("show", "nothing"), ("export",), ("compare", "a"),
                   ("list", "nothing"), ("export", "beef", "{case}/x", "--store", "{case}/s"), ("",), ("--",),
                   ("compare", "aaaa", "bbbb", "--store", "{case}/s"), ("explain", "nothing")):  # fmt: skip
        yield Case(AREA, f"command {words2}", words2, Refused(ANY), stratum="words")
    for words2 in (("list",), ("list", "methods"), ("list", "suites"), ("list", "tables"), ("list", "sweeps"), ("show", "lab"),
                   ("show", "compact"), ("show", "settings"), ("list", "runs", "--store", "{case}/s")):  # fmt: skip
        yield Case(AREA, f"command {words2}", words2, Accepted(), stratum="words")


def place_cases() -> Iterator[Case]:
    """Stores and outputs that cannot be written."""

    def file(case: Path) -> None:
        (case / "file").write_text("in the way", encoding="utf-8")

    def loop(case: Path) -> None:
        (case / "file").symlink_to("file")

    run = (*world.RUN, "--suite", world.SUITE, "--quiet")
    for name, make in (("a file", file), ("a link to itself", loop)):
        for option in ("--store", "--output"):
            for below in ("", "/below", "/below/it"):
                at = run.index(option)
                words = (*run[: at + 1], "{case}/file" + below, *run[at + 2 :])
                refused = Refused(ANY - {1}, ("file",))
                yield Case(
                    AREA,
                    f"{option} {below} under {name}",
                    words,
                    refused,
                    prepare=make,
                    stratum="places",
                    seconds=60,
                )
    for option in ("--store", "--output"):
        for place in ("/dev/null/x", "/proc/x", "/sys/x", "{case}/" + "x" * 300, "/dev/full/x"):
            at = run.index(option)
            words = (*run[: at + 1], place, *run[at + 2 :])
            refused = Refused(ANY - {1})
            yield Case(AREA, f"{option} {place[:30]}", words, refused, stratum="places", seconds=60)


def cases() -> Iterator[Case]:
    """All of the area."""
    yield from seed_cases()
    yield from method_cases()
    yield from option_cases()
    yield from place_cases()
