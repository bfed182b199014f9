"""Answers as texts state them: which statement of which value is right for which gold answer.

The reader has no command of its own, so this area asks the two functions that filters, truth and evaluation use.
"Accepted rightly" is here a right answer that was read as right, "refused clearly" a wrong one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

from tests.attack.cases import Verdict, dice
from tests.attack.driver import Hang, time_limit

AREA = "answers"
SECONDS = 2.0
"""Far more than a linear reading of the longest text takes."""
FORMS = (
    "The answer is {}.", "the answer is: {}", "So the final answer is {}.", "The final answer is {}", "First we add.\nThe answer is {}\n",
    "Hence $\\boxed{{{}}}$.", "\\boxed{{{}}}", "So it holds.\n#### {}", "#### {}", "We get 7 and 8.\n\nThe answer is **{}**.",
    "The answer is 99. Wait, no. The answer is {}.", "\\boxed{{98}} is too much, so \\boxed{{{}}}.",
)  # fmt: skip
"""Ways to state a value; "{}" is the value."""
NUMBERS: tuple[tuple[str, str, bool], ...] = (
    ("12", "12", True), ("12.0", "12", True), ("12.00", "12", True), ("1,200", "1200", True), ("1200", "1,200", True),
    ("$12", "12", True), ("12%", "12", True), ("12\\%", "12", True), ("90^\\circ", "90", True), ("-3", "-3", True),
    ("\u22123", "-3", True), ("\\frac{1}{2}", "1/2", True), ("\\frac{1}{2}", "0.5", True), ("\\dfrac{3}{4}", "3/4", True),
    ("3/4", "0.75", True), ("x=5", "5", True), ("x = 5", "5", True), ("12 apples", "12", True), ("1 hour", "1", True),
    ("\\text{12}", "12", True), ("$12$", "12", True), ("0", "0", True), ("0.5", "1/2", True),
    ("13", "12", False), ("-12", "12", False), ("1", "12", False), ("120", "12", False), ("1.2", "12", False),
    ("\\frac{3}{4}", "3", False), ("\\frac{3}{4}", "4", False), ("3/4", "3", False), ("12.5", "12", False), ("12", "12.5", False),
    ("21", "12", False), ("1,200", "1", False), ("1,200", "200", False), ("0", "12", False), ("\\frac{1}{2}", "12", False),
    ("x=5", "6", False), ("12.0001e3", "12", False), ("10^{12}", "10", False),
)  # fmt: skip
"""(as written, gold answer, whether it is right)."""
TEXTS: tuple[tuple[str, str, bool], ...] = (
    ("The answer is (B).", "B", True), ("The answer is B.", "B", True), ("The answer is (B).", "(B)", True), ("The answer is B", "(B)", True),
    ("The answer is (B) bank.", "B", True), ("The answer is B) bank.", "bank", True), ("The answer is (C).", "B", False),
    ("The answer is (B).", "C", False), ("\\boxed{B}", "B", True), ("\\boxed{\\text{B}}", "B", True), ("\\boxed{C}", "B", False),
    ("#### B", "B", True), ("The answer is A, not B.", "B", False), ("The answer is A, not B.", "A", True),
    ("The answer is yes.", "yes", True), ("The answer is Yes", "yes", True), ("The answer is no, because birds fly.", "no", True),
    ("The answer is no, because yes would mean more.", "yes", False), ("The answer is yes, since no bird swims.", "no", False),
    ("The answer is yes, since no bird swims.", "yes", True), ("The answer is True.", "True", True), ("The answer is true", "True", True),
    ("The answer is False.", "True", False), ("The answer is not True.", "True", False),
    ("The answer is 29, which is incorrect.", "29", False), ("The answer is not 29.", "29", False),
    ("The answer is 29, which is wrong. The answer is 30.", "30", True), ("The answer is 29, which is wrong. The answer is 30.", "29", False),
    ("One might say 29. The answer is 30.", "29", False), ("I do not know.", "29", False), ("", "29", False), ("   ", "0", False),
    ("The answer is", "29", False), ("The answer is .", "29", False), ("The answer is unclear.", "29", False), ("\\boxed{}", "29", False),
    ("####", "29", False), ("\\boxed{29", "30", False), ("The answer is 1 or 2.", "2", False), ("The answer is between 3 and 5.", "4", False),
    ("The answer is 12 hours.", "12", True), ("The answer is 12 (apples).", "12", True), ("The answer is twelve.", "13", False),
    ("The answer is $\\frac{3}{4}$.", "3", False), ("The answer is $\\frac{3}{4}$.", "3/4", True), ("The answer is 5 + 3 = 8.", "8", True),
    ("The answer is 5 + 3 = 8.", "5", False), ("The answer is 3:30.", "3", False), ("The answer is 2^3.", "2", False),
)  # fmt: skip
LONG = (
    "The answer is " + "." * 40_000, "The answer is " * 5_000, "\\boxed{" * 20_000, "\\boxed{" * 10_000 + "}" * 10_000, "#### " * 20_000,
    "1" * 60_000, "1," * 30_000, "1/" * 30_000, "-" * 60_000, "\\frac{" * 10_000, "(" * 60_000, "$" * 60_000, "The answer is " + " " * 60_000,
    "The answer is " + "1 " * 30_000, "a." * 30_000, "\n" * 60_000, "The answer is " + "9" * 60_000 + ".", "{" * 30_000 + "}" * 30_000,
    "The answer is not " * 4_000, "=" * 60_000, "x=" * 30_000, "\\text{" * 10_000, "The answer is \\boxed{" + "{}" * 20_000 + "}",
)  # fmt: skip
"""Texts on which a careless reader takes seconds; none of them states 29."""


def statements() -> Iterator[tuple[str, str, bool]]:
    """(text, gold answer, whether it is right)."""
    for form in FORMS:
        for written, gold, right in NUMBERS:
            yield form.format(written), gold, right
    yield from TEXTS
    yield from ((text, "29", False) for text in LONG)


def make_world(folder: Path) -> None:
    """This area needs none."""
    folder.mkdir(parents=True, exist_ok=True)


def run(_world: Path, share: float) -> Iterator[Verdict]:
    """Ask the reader about every statement."""
    from compact_bench.core.answers import extract_answer, same_answer

    for n, (text, gold, right) in enumerate(statements()):
        if dice(AREA, n).random() >= share:
            continue
        started, why, got = time.monotonic(), "", None
        try:
            with time_limit(SECONDS):
                got = extract_answer(text)
                is_same = same_answer(got, gold)
            if is_same and not right:
                why = f"silent wrong acceptance: read as {got!r:.60}, the same as {gold!r}"
            elif right and not is_same:
                why = f"a right answer is lost: read as {got!r:.60}, not the same as {gold!r}"
        except Hang:
            why = f"hang: no answer after {SECONDS:g} s"
        except Exception as error:
            why = f"raised {type(error).__name__}: {error}"[:200]
        kind = "failed" if why else "accepted rightly" if right else "refused clearly"
        name = f"{text[:70]!r} for {gold!r}"
        yield Verdict(AREA, name, kind, why, seconds=round(time.monotonic() - started, 3))
