"""TOML files that people write."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from compact_bench.core.errors import ConfigError
from compact_bench.core.written.names import shown


def read_toml_file(path: Path, where: str) -> dict[str, Any]:
    """The data of a TOML file.

    Args:
        where: how messages call it ("suite file mine.toml").

    Raises:
        ConfigError: it cannot be read, is no TOML in UTF-8 (a key given twice is none), or is nested too
            deeply.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{where}: expected a TOML file, got: {error.strerror or error}.") from None
    except RecursionError:
        raise ConfigError(f"{where}: expected a TOML file, got one that is nested too deeply.") from None
    except ValueError as error:
        # A whole number of thousands of digits is no TOMLDecodeError, nor is a zero byte in the path.
        raise ConfigError(f"{where}: expected TOML in UTF-8, got: {shown(str(error))}.") from None


def user_path(text: str | Path) -> Path:
    """A path that a user wrote, with `~` filled in where there is such a user."""
    try:
        return Path(text).expanduser()
    except RuntimeError:
        return Path(text)
