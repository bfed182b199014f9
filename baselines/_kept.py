"""What a method works out before training and keeps in the run's folder, where a resumed run finds it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from compact_bench import StoreError

T = TypeVar("T")


def read_kept(path: Path, what: str, parse: Callable[[Any], T]) -> T | None:
    """What an earlier process of the run left in a JSON file; None where there is no such file.

    Args:
        path: the file.
        what: names its content in the error ("these replies").
        parse: from the file's value to what the method uses.

    Raises:
        StoreError: the file is damaged.
    """
    if not path.exists():
        return None
    try:
        return parse(json.loads(path.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreError(f"{path}: {what} cannot be read ({error}); delete the file.") from None
