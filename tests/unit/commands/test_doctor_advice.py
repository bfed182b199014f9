"""What `doctor` advises to install exists: the project is on no index, its extras are in pyproject.toml."""

from __future__ import annotations

import re
import tomllib

from compact_bench.commands.inspect.doctor import INSTALL_TRACKERS, OPTIONAL
from tests.architecture.sources import ROOT


def test_the_extra_that_doctor_names_exists_and_holds_what_is_missing() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    (extra,) = re.findall(r"^pip install -c constraints\.txt '\.\[(\w+)\]'$", INSTALL_TRACKERS)
    assert (ROOT / "constraints.txt").is_file()
    assert {re.split("[<>=]", line)[0] for line in extras[extra]} == {*OPTIONAL}
    source = (ROOT / "compact_bench" / "commands" / "inspect" / "doctor.py").read_text()
    assert "compact-bench[" not in source
