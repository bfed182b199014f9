"""Changes of single settings of a suite's generated world, as `--world` gives them."""

from __future__ import annotations

from collections.abc import Sequence

from compact_bench.core.errors import ConfigError
from compact_bench.core.settings import with_changes
from compact_bench.data.suites.spec import SuiteSpec


def with_world(spec: SuiteSpec, overrides: Sequence[str]) -> SuiteSpec:
    """A suite with some settings of its world changed ("slip_rate=0.2"; of two with one key the later
    counts).

    Raises:
        ConfigError: the suite has no generated world, or an override is malformed, names nothing or has a
            wrong value; every fault is listed.
    """
    if not overrides:
        return spec
    world = spec.training.world
    if world is None:
        raise ConfigError(
            f"--world: expected a suite whose questions are generated, got {spec.name!r}, whose questions "
            f"come from training.{spec.training.source}. Leave out --world, or use --suite lab."
        )
    changed = with_changes(world, overrides, "--world")
    return spec.model_copy(update={"training": spec.training.model_copy(update={"world": changed})})
