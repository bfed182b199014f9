"""What planning needs of a suite's data, remembered so that planning need not load it."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import TypeAdapter

from compact_bench.core.errors import StoreError
from compact_bench.core.files import read_bytes, remembered, write_sealed
from compact_bench.core.paths import package_folder
from compact_bench.core.records import all_teachers, plain
from compact_bench.data.suites.teacher_statistics import all_have_feedback, all_reviewed, some_have_pairs
from compact_bench.data.validation.ragged import gaps, gaps_sentence
from compact_bench.methods.contract import SuiteInfo

if TYPE_CHECKING:
    from compact_bench.data.suites.suite_data import SuiteData

_DATA_CODE = ("data/**/*.py", "students/chat.py", "core/answers/*.py")


@dataclass(frozen=True)
class SuiteFacts:
    """What planning needs of a suite's data.

    Attributes:
        fingerprint: of the data.
        info: what methods may know of it.
        notes: the data's notes, for cards and warnings.
        gaps: in words, which teachers lack questions or have several rationales for one; "" for none.
    """

    fingerprint: str
    info: SuiteInfo
    notes: dict[str, Any]
    gaps: str = ""

    @classmethod
    def of(cls, name: str, data: SuiteData) -> SuiteFacts:
        """The facts of the loaded data of a suite."""
        uneven = gaps(data.training)
        info = SuiteInfo(
            name,
            all_teachers(data.training),
            has_truth=data.has_truth,
            has_pairs=some_have_pairs(data.training),
            has_reviews=all_reviewed(data.training),
            has_feedback=all_have_feedback(data.training),
            missing_teachers=bool(uneven and uneven["lacking"]),
            several_samples=bool(uneven and uneven["several"]),
            branches=dict(Counter(r.teacher for question in data.training for r in question.rationales)),
        )
        return cls(data.fingerprint, info, plain(data.notes), gaps_sentence(uneven) if uneven else "")

    @classmethod
    def read(cls, path: Path) -> SuiteFacts | None:
        """The facts that an earlier command wrote, or None."""
        try:
            return TypeAdapter(cls).validate_python(remembered(path))
        except ValueError:
            return None

    def write(self, path: Path) -> None:
        """Keep the facts for the next command."""
        write_sealed(path, asdict(self))


def file_mark(path: str | None) -> str | None:
    """What a user's file says: its sha256 and its ending, which decides how it is read.

    Returns:
        None where none is given, "" where it cannot be read (loading it says why).
    """
    if path is None:
        return None
    # Never the mark of no file, under which the suite's own questions are remembered.
    file = Path(path).expanduser()
    try:
        # A pipe would be empty, or never end, when it is read.
        data = read_bytes(file) if file.is_file() else None
    except (StoreError, OSError):
        data = None
    return "" if data is None else hashlib.sha256(data).hexdigest() + file.suffix


def data_code_mark() -> str:
    """Hash of the code that makes questions, of files or of a world: what it yields may change with it."""
    folder = package_folder()
    digest = hashlib.sha256()
    for path in sorted(path for pattern in _DATA_CODE for path in folder.glob(pattern)):
        digest.update(path.relative_to(folder).as_posix().encode() + path.read_bytes())
    return digest.hexdigest()
