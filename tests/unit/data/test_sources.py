"""Upstream files from mirror, cache and network (a server on 127.0.0.1), and all that can go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from compact_bench.core.errors import DataError
from compact_bench.data.files import sources as sources_module
from compact_bench.data.files.sources import FileRef, Sources, default_sources

COMMIT = "0123456789abcdef0123456789abcdef01234567"
CONTENT = b"[1, 2, 3]\n" * 5000


def ref_of(content: bytes, path: str = "data/a.json") -> FileRef:
    return FileRef("some/repo", COMMIT, path, hashlib.sha256(content).hexdigest(), len(content))


REF = ref_of(CONTENT)


class Upstream:
    """A server whose answers a test sets; it counts what it is asked."""

    def __init__(self) -> None:
        self.content = CONTENT
        self.statuses: list[int] = []
        self.declared: int | None = None
        self.asked: list[str] = []
        self.pause_seconds = 0.0
        self.drip_seconds = 0.0
        upstream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                upstream.asked.append(self.path)
                time.sleep(upstream.pause_seconds)
                status = upstream.statuses.pop(0) if upstream.statuses else 200
                self.send_response(status)
                body = upstream.content if status == 200 else b"no"
                size = len(body) if upstream.declared is None else upstream.declared
                self.send_header("Content-Length", str(size))
                if status == 302:
                    self.send_header("Location", self.path)
                self.end_headers()
                if upstream.drip_seconds:
                    with contextlib.suppress(OSError):
                        for place in range(0, len(body), 1000):
                            self.wfile.write(body[place : place + 1000])
                            time.sleep(upstream.drip_seconds)
                    return
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.url_form = f"http://127.0.0.1:{self.server.server_address[1]}/{{repo}}/{{commit}}/{{path}}"


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()
    thread = threading.Thread(target=made.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.fixture
def sources(tmp_path: Path, upstream: Upstream) -> Callable[..., Sources]:
    def make(**settings: object) -> Sources:
        chosen = {"url_form": upstream.url_form, "retries": 2, "pause_seconds": 0.0, **settings}
        return Sources(tmp_path / "cache", **chosen)  # type: ignore[arg-type]

    return make


def message(action: Callable[[], object]) -> str:
    with pytest.raises(DataError) as caught:
        action()
    text = str(caught.value)
    assert "--mirror" in text and "COMPACT_BENCH_MIRROR" in text and "prefetch" in text
    return text


def test_a_download_is_cached_and_reported(sources: Callable[..., Sources], upstream: Upstream) -> None:
    seen: list[tuple[int, int, str]] = []
    one = sources(on_progress=lambda *args: seen.append(args))
    path = one.fetch(REF)
    assert path.read_bytes() == CONTENT
    assert path == one.cache / "files" / "some" / "repo" / COMMIT / "data" / "a.json"
    assert upstream.asked == [f"/some/repo/{COMMIT}/data/a.json"]
    assert seen[-1] == (len(CONTENT), len(CONTENT), "data/a.json")
    assert one.fetch(REF) == path and len(upstream.asked) == 1
    assert [p.name for p in path.parent.iterdir()] == ["a.json"]


def test_the_address_is_that_of_the_pinned_commit(tmp_path: Path) -> None:
    expected = f"https://raw.githubusercontent.com/some/repo/{COMMIT}/data/a.json"
    assert Sources(tmp_path).url(REF) == expected


def test_a_loop_of_redirects_is_told(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.statuses = [302] * 1000
    assert "redirects" in message(lambda: sources().fetch(REF))
    assert len(upstream.asked) < 50, "and not tried again"


def test_a_server_that_only_drips_is_given_up(
    sources: Callable[..., Sources], upstream: Upstream, monkeypatch: pytest.MonkeyPatch
) -> None:
    upstream.drip_seconds = 0.1
    monkeypatch.setattr(sources_module, "SLOWEST_BYTES_PER_SECOND", 1_000_000)
    started = time.monotonic()
    text = message(lambda: sources(least_seconds=0.3).fetch(REF))
    assert "slower than 1000000 a second" in text and time.monotonic() - started < 3


@pytest.mark.parametrize("proxy", ["nonsense://127.0.0.1:1", "http://[", "socks5://127.0.0.1:9"])
def test_a_proxy_that_is_none_is_told(
    sources: Callable[..., Sources], monkeypatch: pytest.MonkeyPatch, proxy: str
) -> None:
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, proxy)
    message(lambda: sources(retries=0).fetch(REF))


def test_a_wrong_checksum_is_refused_and_not_kept(
    sources: Callable[..., Sources], upstream: Upstream
) -> None:
    upstream.content = b"x" * len(CONTENT)
    text = message(lambda: sources().fetch(REF))
    assert f"expected sha256 {REF.sha256}, got {hashlib.sha256(upstream.content).hexdigest()}" in text
    assert not list(sources().cached(REF).parent.iterdir())
    upstream.content = CONTENT
    assert sources().fetch(REF).read_bytes() == CONTENT


@pytest.mark.parametrize("size", [len(CONTENT) - 10, 0, len(CONTENT) + 10])
def test_a_download_of_another_size_is_refused(
    sources: Callable[..., Sources], upstream: Upstream, size: int
) -> None:
    upstream.content = (CONTENT + CONTENT)[:size]
    text = message(lambda: sources().fetch(REF))
    assert f"expected {len(CONTENT)} bytes, got {size}" in text
    assert ("(truncated)" in text) == (size < len(CONTENT))
    assert not sources().cached(REF).exists()


def test_a_connection_that_breaks_off_is_tried_again_and_then_reported(
    sources: Callable[..., Sources], upstream: Upstream
) -> None:
    upstream.declared, upstream.content = len(CONTENT), CONTENT[:100]
    text = message(lambda: sources().fetch(REF))
    assert f"expected {len(CONTENT)} bytes, but the connection failed" in text
    assert len(upstream.asked) == 3


def test_a_missing_file_is_reported_at_once(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.statuses = [404] * 9
    assert "HTTP status 404" in message(lambda: sources().fetch(REF))
    assert len(upstream.asked) == 1


def test_a_busy_server_is_asked_again(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.statuses = [503, 429]
    assert sources().fetch(REF).read_bytes() == CONTENT
    assert len(upstream.asked) == 3


def test_a_server_that_stays_busy_is_given_up(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.statuses = [503] * 9
    assert "HTTP status 503" in message(lambda: sources().fetch(REF))
    assert len(upstream.asked) == 3


def test_no_network_is_reported_with_the_address(tmp_path: Path) -> None:
    # Port 9 of this machine: nobody listens.
    one = Sources(tmp_path, url_form="http://127.0.0.1:9/{path}", retries=0)
    text = message(lambda: one.fetch(REF))
    assert "http://127.0.0.1:9/data/a.json" in text and "the connection failed" in text


def test_a_network_out_of_reach_is_waited_for_once(tmp_path: Path) -> None:
    one = Sources(tmp_path, url_form="http://127.0.0.1:9/{path}", retries=1, pause_seconds=0.3)
    refs = [ref_of(CONTENT, f"data/{n}.json") for n in range(9)]
    start = time.perf_counter()
    text = message(lambda: one.fetch_all(refs))
    assert time.perf_counter() - start < 2 * 0.3 + 1
    assert text.count("and the network cannot be reached") == 8 and "8.json" in text


def test_what_a_killed_process_left_is_overwritten(sources: Callable[..., Sources]) -> None:
    cached = sources().cached(REF)
    cached.parent.mkdir(parents=True)
    part = cached.with_name("a.json.part")
    part.write_bytes(b"half of someth")
    assert sources().fetch(REF).read_bytes() == CONTENT
    assert not part.exists()


def test_a_damaged_cache_is_mended(sources: Callable[..., Sources], upstream: Upstream) -> None:
    cached = sources().fetch(REF)
    cached.write_bytes(b"z" * len(CONTENT))
    assert sources().fetch(REF).read_bytes() == CONTENT
    assert len(upstream.asked) == 2


def test_two_at_once_download_once(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.pause_seconds = 0.2
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: sources().fetch(REF), range(4)))
    assert all(path.read_bytes() == CONTENT for path in found)
    assert len(upstream.asked) == 1


def test_offline_uses_the_cache_and_asks_nobody(sources: Callable[..., Sources], upstream: Upstream) -> None:
    text = message(lambda: sources(offline=True).fetch(REF))
    assert "got no file, and offline mode is on" in text and str(sources().cached(REF)) in text
    assert not upstream.asked
    sources().fetch(REF)
    assert sources(offline=True).fetch(REF).read_bytes() == CONTENT


def mirror_with(folder: Path, content: bytes) -> Path:
    file = folder / "some" / "repo" / COMMIT / "data" / "a.json"
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return folder


def test_a_mirror_serves_and_fills_the_cache(
    tmp_path: Path, sources: Callable[..., Sources], upstream: Upstream
) -> None:
    mirror = mirror_with(tmp_path / "mirror", CONTENT)
    one = sources(mirror=mirror, offline=True)
    assert one.at_hand(REF) and one.fetch(REF).read_bytes() == CONTENT
    assert sources(offline=True).fetch(REF).read_bytes() == CONTENT
    assert not upstream.asked


def test_a_mirror_serves_beside_a_cache_that_cannot_be_made(tmp_path: Path) -> None:
    mirror = mirror_with(tmp_path / "mirror", CONTENT)
    (tmp_path / "file").write_text("not a folder")
    found = Sources(tmp_path / "file" / "cache", mirror, offline=True).fetch(REF)
    assert found.read_bytes() == CONTENT


@pytest.mark.parametrize("content", [CONTENT[:-5], b"x" * len(CONTENT)])
def test_a_mirror_with_another_file_is_refused(
    tmp_path: Path, sources: Callable[..., Sources], upstream: Upstream, content: bytes
) -> None:
    sources().fetch(REF)
    mirror = mirror_with(tmp_path / "mirror", content)
    text = message(lambda: sources(mirror=mirror).fetch(REF))
    assert str(mirror) in text and "expected" in text and "got" in text


def test_a_mirror_without_the_file_falls_back(
    tmp_path: Path, sources: Callable[..., Sources], upstream: Upstream
) -> None:
    (tmp_path / "empty").mkdir()
    assert not sources(mirror=tmp_path / "empty").at_hand(REF)
    assert sources(mirror=tmp_path / "empty").fetch(REF).read_bytes() == CONTENT


def test_a_mirror_that_is_no_folder_is_refused(tmp_path: Path) -> None:
    text = message(lambda: Sources(tmp_path, tmp_path / "none").fetch(REF))
    assert "expected a folder, got nothing there" in text


def test_all_files_that_cannot_be_had_are_listed(sources: Callable[..., Sources], upstream: Upstream) -> None:
    upstream.statuses = [404, 200, 404]
    refs = [ref_of(CONTENT, f"data/{n}.json") for n in range(3)]
    with pytest.raises(DataError) as caught:
        sources().fetch_all(refs)
    assert [fault.where.rpartition("/")[2] for fault in caught.value.faults] == ["0.json", "2.json"]


def test_the_environment_names_the_default_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPACT_BENCH_CACHE", str(tmp_path / "c"))
    monkeypatch.setenv("COMPACT_BENCH_MIRROR", str(tmp_path / "m"))
    monkeypatch.setenv("COMPACT_BENCH_OFFLINE", "1")
    one = default_sources()
    assert (one.cache, one.mirror, one.offline) == (tmp_path / "c", tmp_path / "m", True)
