"""One attempt at a run: hold its lock, see whether it is made already, execute it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass

from compact_bench.core.errors import StoreError
from compact_bench.core.progress import Ticker
from compact_bench.core.records import RunKey, RunRecord
from compact_bench.runs.run import execute_run
from compact_bench.runs.session import Session
from compact_bench.runs.store.store import Store


@dataclass(frozen=True)
class Attempt:
    """How an attempt ended.

    Attributes:
        record: of the run.
        executed: False where another command had made the record meanwhile.
    """

    record: RunRecord
    executed: bool

    @property
    def outcome(self) -> str:
        """In words."""
        return self.record.status + (f": {self.record.reason}" if self.record.reason else "")


def attempt(
    session: Session, key: RunKey, began: float, ticker: Ticker, on_start: Callable[[], None]
) -> Attempt | None:
    """Execute a run, or take what another command made of it.

    Args:
        session: what the run needs.
        key: the run.
        began: when this command began, in seconds since the epoch; an older failure is tried again.
        ticker: shows progress.
        on_start: called when the run is about to execute here.

    Returns:
        None while another process holds the run.

    Raises:
        CompactBenchError: what every run needs (data, student, a store that can be written) is not there.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(session.store.lock(key))
        except StoreError:
            return None
        made = _made_meanwhile(session.store, key, began)
        if made is not None:
            return Attempt(made, executed=False)
        on_start()
        return Attempt(execute_run(session, key, ticker), executed=True)


def _made_meanwhile(store: Store, key: RunKey, began: float) -> RunRecord | None:
    """A record that needs no further work; a failure counts only if it is younger than this command."""
    record = store.load(key)
    if record is None:
        return None
    fresh = float(record.provenance.get("finished", 0.0)) >= began
    return record if record.status == "done" or fresh else None


def run_title(key: RunKey) -> str:
    """A run's name in progress lines ("compact seed 1")."""
    return f"{key.label} seed {key.seed}"
