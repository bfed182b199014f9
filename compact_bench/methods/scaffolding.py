"""Files of a new method: one file with its test, or a package of its own. All come from one template."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from compact_bench.core.errors import ConfigError
from compact_bench.core.paths import package_folder
from compact_bench.methods.registry import (
    ENTRY_POINT_GROUP,
    check_method_name,
    method_names,
    template_file,
)


@dataclass(frozen=True)
class NewMethod:
    """What `new` is about to write.

    Attributes:
        files: path -> text.
        near: registered methods with nearly this name.
    """

    name: str
    files: Mapping[Path, str]
    near: tuple[str, ...] = ()


def checkout_folder() -> Path | None:
    """The checkout that this package runs from, or None when it was installed."""
    root = package_folder().parent
    return root if (root / "baselines" / "_template.py").is_file() and (root / "tests").is_dir() else None


def new_method(name: str, folder: Path, *, package: bool) -> NewMethod:
    """The files of a new method; nothing is written.

    Args:
        name: its registry name.
        folder: where a package's folder, or the file and its test, are to be; the checkout's own folder puts
            them into baselines/ and tests/contract/.
        package: whether to make a package with an entry point.

    Raises:
        ConfigError: the name cannot be one, or is taken.
    """
    _check_name(name)
    near = tuple(difflib.get_close_matches(name, method_names(), n=3, cutoff=0.8))
    method = template_file().read_text(encoding="utf-8")
    method = method.replace("Template", _class_name(name)).replace("NAME[", f"{name}[")
    if package:
        return NewMethod(name, _package_files(name, folder, method), near)
    if folder == checkout_folder():
        function_import = f"from baselines.{name} import brevity_weights"
        test = _TEST.format(
            name=name, imports=f"import pytest\n\n{function_import}\n{_OURS}", checked=f'"{name}"'
        )
        files = {
            folder / "baselines" / f"{name}.py": method,
            folder / "tests" / "contract" / f"test_{name}.py": test,
        }
    else:
        imports = f"from pathlib import Path\n\nimport pytest\nfrom {name} import brevity_weights\n\n{_OURS}"
        test = _TEST.format(name=name, imports=imports, checked=f'Path(__file__).with_name("{name}.py")')
        files = {folder / f"{name}.py": method, folder / f"test_{name}.py": test}
    return NewMethod(name, files, near)


def write_files(new: NewMethod) -> None:
    """Write the files of a new method, all or none.

    Raises:
        ConfigError: a file is there already; nothing is written.
    """
    existing = [str(path) for path in new.files if path.exists()]
    if existing:
        raise ConfigError(
            f"method {new.name!r}: expected new files, but {', '.join(existing)} "
            f"{'is' if len(existing) == 1 else 'are'} there already. Choose another name or folder."
        )
    for path, text in new.files.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def _check_name(name: str) -> None:
    check_method_name(name, f"method {name!r}")
    if name in method_names():
        raise ConfigError(
            f"method {name!r}: this name is taken (`compact-bench show {name}`), choose another."
        )


def _class_name(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))


def _package_files(name: str, folder: Path, method: str) -> dict[Path, str]:
    module, root = f"compact_bench_{name}", folder / f"compact-bench-{name.replace('_', '-')}"
    imports = f"import pytest\n{_OURS}\n\nfrom {module}.method import METHOD, brevity_weights"
    values = {"name": name, "module": module, "distribution": root.name, "group": ENTRY_POINT_GROUP}
    return {
        root / "pyproject.toml": _PYPROJECT.format(**values),
        root / "README.md": _README.format(**values),
        root / "src" / module / "__init__.py": f'"""The method {name} for compact-bench."""\n',
        root / "src" / module / "method.py": method,
        root / "tests" / "test_method.py": _TEST.format(name=name, imports=imports, checked="METHOD"),
    }


_OURS = """from compact_bench import CHECKS, CheckResult, Question, Rationale, check_method"""

_TEST = '''"""The contract, and what the weights of {name} must be."""

from __future__ import annotations

{imports}


@pytest.fixture(scope="module")
def results() -> dict[str, CheckResult]:
    found = check_method({checked})
    return {{result.name: result for result in found}}


@pytest.mark.parametrize("name", CHECKS)
def test_contract(name: str, results: dict[str, CheckResult]) -> None:
    assert results[name].passed, results[name].message


QUESTION = Question(
    id="q",
    text="How many?",
    gold_answer="4",
    rationales=(Rationale("ada", "The answer is 4."), Rationale("bob", "2 and 2 make 4. The answer is 4.")),
)


def test_weights_are_shares_and_the_shorter_rationale_has_more() -> None:
    weights = brevity_weights(QUESTION, 1.0)
    assert weights == pytest.approx({{"ada": 9 / 13, "bob": 4 / 13}})
    assert sum(weights.values()) == pytest.approx(1.0)


def test_power_0_is_uniform() -> None:
    assert brevity_weights(QUESTION, 0.0) == {{"ada": 0.5, "bob": 0.5}}
'''

_PYPROJECT = """[build-system]
requires = ["hatchling>=1.27,<2"]
build-backend = "hatchling.build"

[project]
name = "{distribution}"
version = "0.1.0"
description = "The method {name} for compact-bench"
readme = "README.md"
requires-python = ">=3.11"
dependencies = ["compact-bench"]

[project.optional-dependencies]
test = ["pytest>=8.3"]

# What makes the method known: its registry name, and where it is.
[project.entry-points."{group}"]
{name} = "{module}.method:METHOD"

[tool.hatch.build.targets.wheel]
packages = ["src/{module}"]
"""

_README = """# {distribution}

The method `{name}` for compact-bench: say here what it does and why.

```bash
pip install -e ".[test]"
compact-bench check {name}
pytest
compact-bench run {name} --suite lab --profile smoke
compact-bench reproduce --table 2 --methods {name},compact,uniform
```

The method is [src/{module}/method.py](src/{module}/method.py).
Once installed, it is in `compact-bench list methods` and a row of every `reproduce --methods all`.
"""
