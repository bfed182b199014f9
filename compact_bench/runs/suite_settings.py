"""Settings of methods that do not come from their authors or users: what a suite gives them."""

from __future__ import annotations

import contextlib

from pydantic import ValidationError

from compact_bench.core.errors import ConfigError, UnknownNameError
from compact_bench.core.settings import describe_validation_error
from compact_bench.data.suites import SuiteSpec
from compact_bench.methods.registry import get_method, method_names


def all_method_fields() -> list[str]:
    """Fields of every method's configuration; a method that cannot be imported has none."""
    fields: list[str] = []
    for name in method_names():
        with contextlib.suppress(ConfigError):
            fields += get_method(name).config_type.model_fields
    return fields


def check_method_settings(spec: SuiteSpec) -> None:
    """Refuse settings that a suite gives a method and the method does not have or take.

    Raises:
        UnknownNameError: there is no such method.
        ConfigError: a setting is unknown or its value is wrong.
    """
    for method, values in spec.method_settings.items():
        if method not in method_names():
            raise UnknownNameError(f"method in suite {spec.name}, [method_settings]", method, method_names())
        try:
            config_type = get_method(method).config_type
        except ConfigError:
            # What cannot be imported harms its own runs only, and they say why.
            continue
        try:
            config_type.model_validate(values)
        except ValidationError as error:
            # A required setting may come from a table row.
            if any(fault["type"] != "missing" for fault in error.errors()):
                place = f"suite {spec.name}, [method_settings.{method}]"
                raise ConfigError(describe_validation_error(error, place)) from None
