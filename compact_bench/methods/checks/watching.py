"""What a method does to the process around it: global state, files outside its folder, the network."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

_INTERNET = {2, 10, 30}
"""AF_INET, and AF_INET6 on Linux and macOS."""

_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_PATH_EVENTS = {"os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.link", "os.symlink", "os.truncate"}
_NETWORK_EVENTS = {"socket.connect", "socket.sendto", "socket.getaddrinfo", "socket.gethostbyname"}
_MODULE_FILES = (".py", ".pyc", ".so", ".pyd", ".dylib", ".dll")


class NetworkRefused(OSError):
    """Raised to a method that reaches for the network while it is checked."""


@dataclass
class Watch:
    """What was seen.

    Attributes:
        folder: where writing is allowed; None: nowhere.
        reads: whether reading files is noted too; those of modules are not.
        files: what was written, made or removed elsewhere, and read.
        network: the addresses that were requested.
    """

    folder: Path | None = None
    reads: bool = False
    files: list[str] = field(default_factory=list)
    network: list[str] = field(default_factory=list)

    def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """One audit event of the interpreter.

        Raises:
            NetworkRefused: it asks for the network.
        """
        if name in _NETWORK_EVENTS:
            self._network(name, arguments)
        elif name == "open":
            path, mode, flags = arguments
            writes = (isinstance(flags, int) and bool(flags & _WRITES)) or (
                isinstance(mode, str) and any(letter in mode for letter in "wax+")
            )
            if writes or self.reads:
                self._file(path, writes)
        elif name in _PATH_EVENTS:
            descriptors = [value for value in arguments[1:] if isinstance(value, int)]
            # A path beside an open folder's descriptor cannot be told; opening the folder was seen.
            if name == "os.mkdir" or all(value == -1 for value in descriptors):
                for path in (
                    arguments[:2] if name in ("os.rename", "os.link", "os.symlink") else arguments[:1]
                ):
                    self._file(path, True)

    def _file(self, path: Any, writes: bool) -> None:
        if not isinstance(path, str | bytes | os.PathLike):
            return
        real = os.path.realpath(os.fsdecode(path))
        if real.startswith(("/dev/", "/proc/")) or _is_bytecode(real):
            return
        if not writes and (real.endswith(_MODULE_FILES) or os.path.isdir(real)):
            return
        if self.folder is None or not Path(real).is_relative_to(os.path.realpath(self.folder)):
            self.files.append(real)

    def _network(self, name: str, arguments: tuple[Any, ...]) -> None:
        if name in ("socket.connect", "socket.sendto"):
            if int(arguments[0].family) not in _INTERNET:
                return
            target = str(arguments[1])
        else:
            target = str(arguments[0])
        self.network.append(target)
        raise NetworkRefused(f"a method has no network while it is checked (asked for {target})")


def _is_bytecode(real: str) -> bool:
    """Whether a path is the interpreter's own cache of modules, which stands beside them or elsewhere."""
    if "__pycache__" in real:
        return True
    prefix = sys.pycache_prefix
    return prefix is not None and Path(real).is_relative_to(os.path.realpath(prefix))


_WATCHES: list[Watch] = []


@contextmanager
def watching(watch: Watch) -> Iterator[Watch]:
    """Everything the process does inside is seen.

    An audit hook of the interpreter, which cannot be taken out again, sees it; outside it does nothing.
    """
    _install_hook()
    _WATCHES.append(watch)
    try:
        yield watch
    finally:
        _WATCHES.remove(watch)


def _hook(name: str, arguments: tuple[Any, ...]) -> None:
    for watch in _WATCHES:
        watch.event(name, arguments)


_installed: list[Callable[..., None]] = []


def _install_hook() -> None:
    if not _installed:
        _installed.append(_hook)
        sys.addaudithook(_hook)


def generator_states() -> dict[str, bytes]:
    """State of every global generator, as bytes that can be compared."""
    name, keys, place, has_gauss, gauss = np.random.get_state()
    return {
        "random": repr(random.getstate()).encode(),
        "numpy.random": repr((name, np.asarray(keys).tolist(), place, has_gauss, gauss)).encode(),
        "torch": torch.get_rng_state().numpy().tobytes(),
    }


def disturb_generators(seed: int) -> None:
    """Seed every global generator, so that a method that relies on their state shows it."""
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class GlobalState:
    """What a process shares, as it stood at one moment."""

    plain: Mapping[str, Any]
    environment: Mapping[str, str]
    generators: tuple[Any, Any, torch.Tensor]

    @classmethod
    def now(cls) -> GlobalState:
        """The state at this moment."""
        plain = {
            "the current directory": os.getcwd(),
            "sys.path": list(sys.path),
            "the filters of warnings": list(warnings.filters),
            "torch's default dtype": torch.get_default_dtype(),
            "torch's default device": torch.get_default_device(),
            "torch's number of threads": torch.get_num_threads(),
            "torch.use_deterministic_algorithms": torch.are_deterministic_algorithms_enabled(),
            "whether torch records gradients": torch.is_grad_enabled(),
            "torch's precision of matrix products": torch.get_float32_matmul_precision(),
            "torch.backends.cudnn.deterministic": torch.backends.cudnn.deterministic,
        }
        states = (random.getstate(), np.random.get_state(), torch.get_rng_state())
        return cls(plain, dict(os.environ), states)

    def changes(self) -> list[str]:
        """What differs now, in words; generators are not compared."""
        now = GlobalState.now()
        differing = [name for name, value in self.plain.items() if now.plain[name] != value]
        names = sorted({*self.environment, *now.environment})
        changed = [n for n in names if self.environment.get(n) != now.environment.get(n)]
        return differing + [f"the environment variable {name}" for name in changed]

    def restore(self) -> None:
        """Put everything back but the filters of warnings: one method's doing must not reach the next."""
        plain = self.plain
        for name in set(os.environ) - set(self.environment):
            del os.environ[name]
        os.environ.update(self.environment)
        os.chdir(plain["the current directory"])
        sys.path[:] = plain["sys.path"]
        torch.set_default_dtype(plain["torch's default dtype"])
        if torch.get_default_device() != plain["torch's default device"]:
            torch.set_default_device(plain["torch's default device"])
        torch.set_num_threads(plain["torch's number of threads"])
        torch.use_deterministic_algorithms(plain["torch.use_deterministic_algorithms"])
        torch.set_grad_enabled(plain["whether torch records gradients"])
        torch.set_float32_matmul_precision(plain["torch's precision of matrix products"])
        torch.backends.cudnn.deterministic = plain["torch.backends.cudnn.deterministic"]
        random.setstate(self.generators[0])
        np.random.set_state(self.generators[1])
        torch.set_rng_state(self.generators[2])
