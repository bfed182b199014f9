"""What is checked: a method with a configuration that it can run with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import Strict, describe_validation_error
from compact_bench.methods.checks.results import MethodError, guarded
from compact_bench.methods.registry import (
    OF_FILE,
    MethodSource,
    get_method,
    import_method,
    split_name,
    variant_config,
)


@dataclass(frozen=True)
class Subject:
    """A method as it is checked.

    Attributes:
        name: as the user gave it.
        values: of its configuration, where they are not the defaults.
    """

    name: str
    kind: type[Any]
    values: Mapping[str, Any]

    def config(self) -> Strict:
        """The configuration.

        Raises:
            MethodError: the values are not accepted.
        """
        config_type: type[Strict] = self.kind.config_type
        try:
            return config_type.model_validate(dict(self.values))
        except ValidationError as error:
            text = describe_validation_error(error, "its configuration")
            raise MethodError(
                f"{text}\nA required field needs a default, or a value in the class attribute "
                "`example_config`, which checks take."
            ) from None

    def make(self) -> Any:
        """A new instance.

        Raises:
            MethodError: its constructor raised something.
        """
        config = self.config()
        with guarded("the constructor"):
            return self.kind(config)


def find_subject(method: str | Path | type[Any], config: Mapping[str, Any] | None, teacher: str) -> Subject:
    """The method that is meant, with a configuration.

    Args:
        method: a registered name, "name[variant]", a Python file that defines METHOD, or a class.
        config: values of its configuration; None takes its class attribute `example_config`, if any.
        teacher: for a configuration whose field `teacher` is required.

    Raises:
        UnknownNameError: no such method or variant.
        ConfigError: it cannot be imported, or is no method.
    """
    name, values = str(method), {}
    if isinstance(method, type):
        name, kind = method.__name__, method
    elif isinstance(method, Path) or method.endswith(".py"):
        kind = _from_file(Path(method))
    else:
        base, variant = split_name(method)
        kind, values = get_method(base), variant_config(base, variant)
    chosen = config if config is not None else {**getattr(kind, "example_config", {}), **values}
    fields = getattr(getattr(kind, "config_type", None), "model_fields", {})
    if "teacher" in fields and fields["teacher"].is_required() and "teacher" not in chosen:
        chosen = {"teacher": teacher, **chosen}
    return Subject(name, kind, chosen)


def _from_file(path: Path) -> type[Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: expected a Python file with a METHOD, got no such file.")
    return import_method(MethodSource(path.stem, OF_FILE, path=path.resolve()))
