"""What planning needs of a suite's data, remembered so that planning need not load it."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from compact_bench.core.files import read_json, write_json
from compact_bench.core.paths import package_folder
from compact_bench.data.suites.teacher_statistics import all_have_feedback, all_reviewed, some_have_pairs

if TYPE_CHECKING:
    from compact_bench.data.suites.loading import SuiteData

_KNOWN = ("has_truth", "has_pairs", "has_reviews", "has_feedback")
_DATA_CODE = ("data/**/*.py", "students/chat.py", "core/answers.py")


@dataclass(frozen=True)
class SuiteFacts:
    """What planning needs of a suite's data.

    Attributes:
        fingerprint: of the suite and its questions.
        teachers: names, in order.
        has_truth: whether it is known of every rationale if it is really right.
        has_pairs: whether some training question has a right and a wrong rationale on a similar path.
        has_reviews: whether every training question has the K(K-1) scores of K teachers on one another.
        has_feedback: whether every training question has feedback on a student's wrong answer.
    """

    fingerprint: str
    teachers: tuple[str, ...]
    has_truth: bool
    has_pairs: bool = False
    has_reviews: bool = False
    has_feedback: bool = False

    @classmethod
    def of(cls, data: SuiteData) -> SuiteFacts:
        """The facts of loaded data."""
        return cls(
            fingerprint=data.fingerprint,
            teachers=data.training[0].teachers,
            has_truth=data.has_truth,
            has_pairs=some_have_pairs(data.training),
            has_reviews=all_reviewed(data.training),
            has_feedback=all_have_feedback(data.training),
        )

    @classmethod
    def read(cls, path: Path) -> SuiteFacts | None:
        """The facts that an earlier command wrote, or None."""
        value = read_json(path)
        try:
            teachers = tuple(map(str, value["teachers"]))
            return cls(str(value["fingerprint"]), teachers, **{name: bool(value[name]) for name in _KNOWN})
        except (KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        """Keep the facts for the next command."""
        write_json(path, asdict(self))


def file_mark(path: str | None) -> str | None:
    """sha256 of a user's file; None where there is none or it cannot be read (loading it says why).

    Args:
        path: the file, or None.
    """
    if path is None:
        return None
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()
    except OSError:
        return None


def data_code_mark() -> str:
    """Hash of the code that makes questions, of files or of a world: what it yields may change with it."""
    folder = package_folder()
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _DATA_CODE for path in folder.glob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
