"""About 150 of the attack's inputs, drawn by its seed, and its page: part of `tox -e unit`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.areas import AREAS, cases_of
from tests.attack.cases import Either, Refused
from tests.attack.driver import ROOT
from tests.attack.judging import unclear
from tests.attack.results import FIELDS, Summary, page
from tests.attack.test_attack import attack, told

PAGE = ROOT / "docs" / "robustness.md"
QUICK = ("rationales", "settings", "options", "definitions")
INPUTS = 150


def test_a_draw_of_the_attack(tmp_path: Path) -> None:
    counted = sum(len(cases_of(name)) for name in QUICK)
    share = f"{INPUTS / counted:.5f}"
    written = attack(tmp_path, "--areas", ",".join(QUICK), "--share", share, "--real", "0", seconds=300)
    assert written["summary"]["failed"] == 0, told(written)
    assert written["summary"]["tried"] >= INPUTS / 2


def test_every_input_has_one_name_and_a_verdict_that_can_fail() -> None:
    for name in QUICK:
        cases = cases_of(name)
        assert len({case.name for case in cases}) == len(cases)
        refused = [case for case in cases if isinstance(case.expected, Refused)]
        assert refused and len(refused) < len(cases)
        assert all(case.expected.reason for case in cases if isinstance(case.expected, Either))


def test_the_page_has_the_fields_that_a_run_writes() -> None:
    text = PAGE.read_text(encoding="utf-8")
    example = page([], Summary.of([], 0.0))
    for field in FIELDS:
        assert field in text, field
        assert field in example, field
    for name in AREAS:
        assert f"| {name} |" in text


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        ("Error: own.jsonl, row 3: expected text, got null", ""),
        ("Error: own.jsonl: expected text, got null", "does not name"),
        ("Error: bad own.jsonl, row 3", "does not say what to do"),
        ("own.jsonl, row 3: expected text", "expected one message"),
    ],
)
def test_what_a_clear_message_is(tmp_path: Path, message: str, complaint: str) -> None:
    from tests.attack.driver import Done

    done = Done(3, "", message, 0.0, tmp_path)
    got = unclear(Refused(frozenset({3}), ("own.jsonl", "row 3")), done)
    assert (complaint in got) if complaint else got == ""
