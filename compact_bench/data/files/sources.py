"""Where upstream files come from: a mirror folder, the cache, or the network; always checked by sha256.

A file is named by repository, commit and path. The mirror and the cache have one layout,
owner/repo/commit/path, so that a cache can serve as a mirror elsewhere.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from compact_bench.core import paths
from compact_bench.core.errors import DataError, Fault, StoreError
from compact_bench.core.files import sha256_of, write_atomic

URL_FORM = "https://raw.githubusercontent.com/{repo}/{commit}/{path}"
DataProgress = Callable[[int, int, str], None]
"""Called with (bytes done, bytes in all, text)."""

SLOWEST_BYTES_PER_SECOND = 4096
"""A server that is slower than this is given up, whatever it keeps sending."""
_RETRY_STATUS = frozenset({408, 425, 429, 500, 502, 503, 504})
_MEND = (
    "pass --mirror FOLDER or set COMPACT_BENCH_MIRROR to a folder laid out as owner/repo/commit/path, "
    "or run `compact-bench prefetch` while online."
)


@dataclass(frozen=True)
class FileRef:
    """One file of one commit.

    Attributes:
        repo: "owner/name".
    """

    repo: str
    commit: str
    path: str
    sha256: str
    bytes: int

    @property
    def relative(self) -> PurePosixPath:
        """Place in a mirror or in the cache: owner/repo/commit/path."""
        return PurePosixPath(self.repo) / self.commit / self.path


def is_inside(path: str) -> bool:
    """Whether a path of a suite file names something below the folder that it is put behind."""
    # Backslashes and drives count on Windows; nobody's repository needs them.
    parts = path.split("/")
    return not any(part in ("", ".", "..") for part in parts) and not set(path) & set("\\:\0")


def silent(done: int, total: int, text: str) -> None:
    """The progress callback that shows nothing."""


def checksum_problem(file: Path, sha256: str, size_bytes: int | None = None) -> str | None:
    """What is wrong with a file's size, where one is given, or checksum ("expected ..., got ..."), or None.

    Raises:
        OSError: the file cannot be read.
    """
    actual_bytes = file.stat().st_size
    # The size first: it says more than a sum does, and costs nothing.
    if size_bytes is not None and actual_bytes != size_bytes:
        short = " (truncated)" if actual_bytes < size_bytes else ""
        return f"expected {size_bytes} bytes, got {actual_bytes}{short}"
    actual = sha256_of(file)
    return None if actual == sha256 else f"expected sha256 {sha256}, got {actual}"


@contextmanager
def file_lock(cache: Path, name: str) -> Iterator[None]:
    """Hold a lock between processes (in the cache's folder `locks`): a thing is fetched or made once."""
    from filelock import FileLock

    folder = cache / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(folder / f"{hashlib.sha256(name.encode()).hexdigest()[:24]}.lock"):
        yield


class Sources:
    """Gives the local path of upstream files, from the mirror, the cache or the network, in that order.

    Args:
        cache: the cache folder; files lie in its `files` folder.
        mirror: folder laid out as owner/repo/commit/path, or None.
        url_form: web address with the fields {repo}, {commit} and {path}.
        retries: further attempts after a connection failure or a server's "try again".
        pause_seconds: wait before the first retry; doubled every time.
        least_seconds: what a file may take beside the time that the slowest accepted server needs for it.
    """

    def __init__(
        self,
        cache: Path,
        mirror: Path | None = None,
        offline: bool = False,
        *,
        url_form: str = URL_FORM,
        on_progress: DataProgress = silent,
        retries: int = 3,
        pause_seconds: float = 1.0,
        least_seconds: float = 60.0,
    ) -> None:
        self.cache = cache.expanduser().absolute()
        self.mirror = mirror.expanduser().absolute() if mirror is not None else None
        self.offline = offline
        self.on_progress = on_progress
        self._url_form = url_form
        self._retries = retries
        self._pause_seconds = pause_seconds
        self._least_seconds = least_seconds

    def url(self, ref: FileRef) -> str:
        """Web address of a file."""
        return self._url_form.format(repo=ref.repo, commit=ref.commit, path=ref.path)

    def cached(self, ref: FileRef) -> Path:
        """Where the cache keeps a file, whether it is there or not."""
        return self.cache / "files" / ref.relative

    def _place(self, root: Path, ref: FileRef) -> Path:
        """Where a file lies below a folder.

        Raises:
            _FetchProblem: its name or a link on the way leads out of the folder.
        """
        place = root / ref.relative
        way = "path" if not is_inside(f"{ref.repo}/{ref.path}") else ""
        try:
            way = way or ("" if place.resolve().is_relative_to(root.resolve()) else "link")
        except RuntimeError:
            way = "link in a circle"
        if way:
            raise _FetchProblem(
                str(place), f"expected a place inside {root}, got a {way} that leads out of it"
            )
        return place

    def at_hand(self, ref: FileRef) -> bool:
        """Whether a file of the right size is in the mirror or the cache (its sum is checked on use)."""
        places = [self.cached(ref)] + ([self.mirror / ref.relative] if self.mirror else [])
        return any(place.is_file() and place.stat().st_size == ref.bytes for place in places)

    def fetch(self, ref: FileRef) -> Path:
        """Local path of a file whose size and checksum have been verified.

        Raises:
            DataError: it cannot be fetched, or what came is not the file.
        """
        return self.fetch_all([ref])[ref]

    def fetch_all(self, refs: Iterable[FileRef]) -> dict[FileRef, Path]:
        """Fetch several files.

        Raises:
            DataError: lists every file that cannot be fetched.
        """
        if self.mirror is not None and not self.mirror.is_dir():
            kind = "a file" if self.mirror.exists() else "nothing there"
            fault = Fault(str(self.mirror), f"expected a folder, got {kind}")
            raise DataError("the mirror cannot be used", [fault], _MEND)
        fetched: dict[FileRef, Path] = {}
        faults: list[Fault] = []
        # Once the network was out of reach, the other files are not waited for.
        no_network = "offline mode is on" if self.offline else ""
        for ref in dict.fromkeys(refs):
            try:
                fetched[ref] = self._fetch(ref, no_network)
            except _FetchProblem as problem:
                if problem.unreachable:
                    no_network = "the network cannot be reached"
                faults.append(Fault(problem.where, problem.text))
        if faults:
            raise DataError(f"{len(faults)} upstream file(s) could not be had", faults, _MEND)
        return fetched

    def _fetch(self, ref: FileRef, no_network: str) -> Path:
        cached = self.cached(ref)
        try:
            self._place(self.cache / "files", ref)
            if self.mirror is not None and (copy := self._place(self.mirror, ref)).is_file():
                if problem := checksum_problem(copy, ref.sha256, ref.bytes):
                    raise _FetchProblem(str(copy), problem)
                return self._keep(copy, ref)
            if cached.is_file() and checksum_problem(cached, ref.sha256, ref.bytes) is None:
                return cached
            if no_network:
                raise _FetchProblem(str(cached), f"{self._absence(cached)}, and {no_network}")
            with file_lock(self.cache, str(ref.relative)):
                # Another process may have fetched it while this one waited.
                if not cached.is_file() or checksum_problem(cached, ref.sha256, ref.bytes):
                    self._download(ref, cached)
            return cached
        except OSError as error:
            raise _FetchProblem(str(cached), f"cannot be read or written: {error}") from None

    def _keep(self, copy: Path, ref: FileRef) -> Path:
        """Copy a mirror's file into the cache, so that later commands work without the mirror."""
        cached = self.cached(ref)
        if cached.is_file() and cached.stat().st_size == ref.bytes:
            return copy
        try:
            with file_lock(self.cache, str(ref.relative)):
                write_atomic(cached, copy.read_bytes())
        except (OSError, StoreError):
            # A cache that cannot be written is no reason to refuse a good mirror.
            return copy
        return cached

    def _absence(self, cached: Path) -> str:
        got = "a damaged file" if cached.is_file() else "no file"
        mirror = f"; the mirror {self.mirror} has none either" if self.mirror else ""
        return f"expected it in the cache, got {got}{mirror}"

    def _download(self, ref: FileRef, target: Path) -> None:
        import httpx

        target.parent.mkdir(parents=True, exist_ok=True)
        # One name for every process: the lock is held, and a part left by a killed one is overwritten.
        part = target.with_name(target.name + ".part")
        pause = self._pause_seconds
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            try:
                self._stream(ref, part)
                break
            except httpx.HTTPStatusError as error:
                status = error.response.status_code
                if last or status not in _RETRY_STATUS:
                    text = f"expected the file, got HTTP status {status}"
                    raise _FetchProblem(self.url(ref), text) from None
            except (httpx.RequestError, httpx.InvalidURL) as error:
                for_good = httpx.UnsupportedProtocol | httpx.InvalidURL | httpx.TooManyRedirects
                if last or isinstance(error, for_good):
                    cause = str(error) or type(error).__name__
                    text = f"expected {ref.bytes} bytes, but the connection failed: {cause}"
                    unreachable = isinstance(error, httpx.ConnectError | httpx.ConnectTimeout)
                    raise _FetchProblem(self.url(ref), text, unreachable) from None
            except (ValueError, ImportError) as error:
                # Of the environment's proxies: an address that is none, or a kind that needs another package.
                text = f"the network cannot be used as HTTP_PROXY, HTTPS_PROXY or ALL_PROXY say: {error}"
                raise _FetchProblem(self.url(ref), text, unreachable=True) from None
            time.sleep(pause)
            pause *= 2
        if problem := checksum_problem(part, ref.sha256, ref.bytes):
            part.unlink()
            raise _FetchProblem(self.url(ref), problem)
        os.replace(part, target)

    def _stream(self, ref: FileRef, part: Path) -> None:
        import httpx

        timeout, done = httpx.Timeout(30.0, connect=15.0), 0
        # Each block may take the time-out's seconds; without an end to the whole a slow server never ends.
        end = time.monotonic() + self._least_seconds + ref.bytes / SLOWEST_BYTES_PER_SECOND
        request = httpx.stream("GET", self.url(ref), timeout=timeout, follow_redirects=True)
        with request as response:
            response.raise_for_status()
            with part.open("wb") as stream:
                for block in response.iter_bytes():
                    stream.write(block)
                    done += len(block)
                    self.on_progress(done, ref.bytes, ref.path)
                    if time.monotonic() > end:
                        slow = f"slower than {SLOWEST_BYTES_PER_SECOND} a second"
                        raise _FetchProblem(self.url(ref), f"got {done} of {ref.bytes} bytes, {slow}")
                    if done > ref.bytes:
                        # The size check reports it; the rest of a wrong file need not be read.
                        break
                stream.flush()
                # Before the rename that follows: a crash must not leave a whole name on half a file.
                os.fsync(stream.fileno())


def default_sources(on_progress: DataProgress = silent) -> Sources:
    """Sources as the environment names them (`COMPACT_BENCH_CACHE`, `..._MIRROR`, `..._OFFLINE`)."""
    return Sources(paths.cache_dir(), paths.mirror_dir(), paths.offline(), on_progress=on_progress)


class _FetchProblem(Exception):
    def __init__(self, where: str, text: str, unreachable: bool = False) -> None:
        super().__init__(where, text)
        self.where, self.text, self.unreachable = where, text, unreachable
