"""docs/method-helpers.md has every name of the public face, and its example is a sound method."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from compact_bench import EncodedBranch, EncodedQuestion, FitReport, RunContext, StepLoss, check_method
from tests.architecture.sources import PACKAGE, ROOT
from tests.architecture.test_documents import code_blocks

PAGE = (ROOT / "docs" / "method-helpers.md").read_text(encoding="utf-8")
# What stands in an example is not said of a name.
PROSE = re.sub(r"^```.*?^```", "", PAGE, flags=re.MULTILINE | re.DOTALL)
NAMED = set(re.findall(r"`([\w.]+)`", PROSE))
STUB = (ROOT / PACKAGE / "__init__.pyi").read_text(encoding="utf-8")


def test_every_name_of_the_stub_is_on_the_page() -> None:
    public = set(re.findall(r"^from \S+ import \w+ as (\w+)$", STUB, re.MULTILINE))
    listed = NAMED | {name.partition(".")[0] for name in NAMED}
    assert len(public) > 90 and not public - listed, public - listed


@pytest.mark.parametrize("kind", [EncodedBranch, EncodedQuestion, StepLoss, RunContext, FitReport])
def test_every_field_is_on_the_page_and_every_one_there_exists(kind: Any) -> None:
    members = {name for name in vars(kind) if not name.startswith("_")} | {f.name for f in fields(kind)}
    listed = {n.partition(".")[2] for n in NAMED if n.startswith(f"{kind.__name__}.")}
    assert listed == members


def test_the_example_keeps_the_contract(tmp_path: Path) -> None:
    (text,) = code_blocks(PAGE, "python")
    (tmp_path / "agree.py").write_text(text, encoding="utf-8")
    wrong = [f"{r.name}: {r.message}" for r in check_method(tmp_path / "agree.py") if not r.passed]
    assert not wrong, "\n".join(wrong)
