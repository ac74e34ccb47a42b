"""Against a registry of our own on 127.0.0.1, which can be made to break off, lie or be absent."""

import hashlib
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from labkit import registry
from labkit.registry import Package, SourceUnavailable

CONTENT = np.random.default_rng(0).bytes(1_000_003)  # more than one chunk, and no round number
SHA256 = hashlib.sha256(CONTENT).hexdigest()
WHEEL = Package("pypi", "Some_Data.Set", "1.0", "some_data_set-1.0-py3-none-any.whl", SHA256)
TARBALL = Package("npm", "@scope/data", "2.1.0", "scope-data-2.1.0.tgz", SHA256)


@dataclass
class Registry:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    resumes: bool = True  # answers a Range with 206; else with 200 and everything
    breaks_after: list[int] = field(default_factory=list)  # bytes, for the next answers
    asked: list[tuple[str, str | None]] = field(default_factory=list)  # path, Range

    def downloads(self) -> list[str | None]:
        return [asked_range for path, asked_range in self.asked if path == "/files/content"]


class _Handler(BaseHTTPRequestHandler):
    registry: Registry

    def do_GET(self) -> None:
        self.registry.asked.append((self.path, self.headers.get("Range")))
        if self.path == "/files/content":
            self._content()
        elif self.path == "/simple/some-data-set/":
            assert self.headers["Accept"] == "application/vnd.pypi.simple.v1+json"
            files = [{"filename": WHEEL.file, "url": "../../files/content#sha256=x"}]
            self._document({"files": files})
        elif self.path == "/@scope%2Fdata/2.1.0":
            self._document({"dist": {"tarball": "/files/content"}})
        else:
            self.send_error(404)

    def _document(self, document: object) -> None:
        body = json.dumps(document).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _content(self) -> None:
        wanted, total = self.headers.get("Range"), len(self.registry.content)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        if not self.registry.resumes:
            start = 0
        if start >= total:
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if start:
            self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
        self.send_header("Content-Length", str(total - start))
        self.end_headers()
        breaks = self.registry.breaks_after.pop(0) if self.registry.breaks_after else total
        self.wfile.write(self.registry.content[start : start + breaks])

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Registry]:
    state = Registry()
    handler = type("Handler", (_Handler,), {"registry": state})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{http.server_address[1]}"
    monkeypatch.setenv("PIP_INDEX_URL", f"{address}/simple")
    monkeypatch.setenv("NPM_CONFIG_REGISTRY", f"{address}/")
    monkeypatch.setenv("LABKIT_ARCHIVES", str(tmp_path))
    yield state
    http.shutdown()
    http.server_close()


def _partial(package: Package) -> Path:
    return registry.archive_folder() / f"{package.file}.partial"


@pytest.mark.parametrize("package", [WHEEL, TARBALL], ids=["pypi", "npm"])
def test_a_package_is_fetched_once_and_kept(server: Registry, package: Package) -> None:
    assert registry.fetch(package).read_bytes() == CONTENT
    asked = len(server.asked)
    assert registry.fetch(package) == registry.archive_folder() / package.file
    assert len(server.asked) == asked
    assert not _partial(package).exists()


def test_a_connection_that_breaks_is_taken_up_where_it_broke(server: Registry) -> None:
    server.breaks_after = [400_000, 300_000]
    assert registry.fetch(WHEEL).read_bytes() == CONTENT
    assert server.downloads() == [None, "bytes=400000-", "bytes=700000-"]


def test_a_connection_that_keeps_breaking_is_given_up_and_its_part_kept(server: Registry) -> None:
    server.breaks_after = [1000] * registry.ATTEMPTS
    with pytest.raises(SourceUnavailable, match="could not be fetched"):
        registry.fetch(WHEEL)
    assert _partial(WHEEL).read_bytes() == CONTENT[: 1000 * registry.ATTEMPTS]


def test_a_truncated_download_is_resumed_by_a_later_run(server: Registry) -> None:
    _partial(WHEEL).write_bytes(CONTENT[:654_321])
    assert registry.fetch(WHEEL).read_bytes() == CONTENT
    assert server.downloads() == ["bytes=654321-"]


def test_a_server_that_cannot_resume_sends_everything_and_nothing_is_doubled(
    server: Registry,
) -> None:
    server.resumes = False
    _partial(WHEEL).write_bytes(CONTENT[:654_321])
    assert registry.fetch(WHEEL).read_bytes() == CONTENT


def test_a_download_that_ended_before_its_renaming_is_taken(server: Registry) -> None:
    _partial(WHEEL).write_bytes(CONTENT)
    assert registry.fetch(WHEEL).read_bytes() == CONTENT


def test_a_wrong_file_is_deleted_and_both_hashes_named(server: Registry) -> None:
    server.content = b"something else"
    with pytest.raises(SourceUnavailable) as refusal:
        registry.fetch(WHEEL)
    assert SHA256 in str(refusal.value)
    assert hashlib.sha256(b"something else").hexdigest() in str(refusal.value)
    assert not _partial(WHEEL).exists()
    server.content = CONTENT
    assert registry.fetch(WHEEL).read_bytes() == CONTENT


def test_a_damaged_partial_does_not_stop_the_run_after(server: Registry) -> None:
    _partial(WHEEL).write_bytes(b"x" * 1000)
    with pytest.raises(SourceUnavailable, match="expected"):
        registry.fetch(WHEEL)
    assert registry.fetch(WHEEL).read_bytes() == CONTENT


def test_a_package_that_the_registry_has_not_is_named_with_the_way_by_hand(
    server: Registry,
) -> None:
    missing = Package("npm", "nothing", "3.0", "nothing-3.0.tgz", SHA256)
    with pytest.raises(SourceUnavailable) as refusal:
        registry.fetch(missing)
    for part in ("nothing 3.0 (nothing-3.0.tgz)", "/nothing/3.0", "404", "npm pack nothing@3.0"):
        assert part in str(refusal.value)
    assert str(registry.archive_folder()) in str(refusal.value)


def test_a_version_that_the_index_does_not_list_is_said(server: Registry) -> None:
    other = Package("pypi", "some-data-set", "9.9", "some_data_set-9.9.tar.gz", SHA256)
    with pytest.raises(SourceUnavailable, match=r"some_data_set-9\.9\.tar\.gz not among them"):
        registry.fetch(other)


def test_an_answer_that_is_no_package_document_is_said(
    server: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captive portal answers everything with its login page."""
    monkeypatch.setattr(_Handler, "_document", lambda self, _: self._content())
    server.content = b"<html>Please log in</html>"
    with pytest.raises(SourceUnavailable, match="no package document"):
        registry.fetch(WHEEL)


def test_without_a_network_the_error_says_how_to_get_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_ARCHIVES", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://reader:secret@127.0.0.1:9/simple")
    with pytest.raises(SourceUnavailable) as refusal:
        registry.fetch(WHEEL)
    message = str(refusal.value)
    assert "http://127.0.0.1:9/simple/some-data-set/" in message
    assert "pip download --no-deps Some_Data.Set==1.0" in message
    assert str(tmp_path) in message
    assert "secret" not in message


def test_a_file_put_there_by_hand_is_taken_without_a_network(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("LABKIT_ARCHIVES", str(tmp_path))
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    (tmp_path / WHEEL.file).write_bytes(CONTENT)
    assert registry.fetch(WHEEL) == tmp_path / WHEEL.file


def test_a_wrong_file_put_there_by_hand_is_refused_and_left(server: Registry) -> None:
    path = registry.archive_folder() / WHEEL.file
    path.write_bytes(b"another version")
    with pytest.raises(SourceUnavailable) as refusal:
        registry.fetch(WHEEL)
    assert str(path) in str(refusal.value)
    assert hashlib.sha256(b"another version").hexdigest() in str(refusal.value)
    assert SHA256 in str(refusal.value)
    assert path.read_bytes() == b"another version"


def test_two_processes_that_need_a_file_download_it_once(server: Registry) -> None:
    with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
        paths = list(pool.map(registry.fetch, [WHEEL, WHEEL]))
    assert [path.read_bytes() for path in paths] == [CONTENT, CONTENT]
    assert len(server.downloads()) == 1
