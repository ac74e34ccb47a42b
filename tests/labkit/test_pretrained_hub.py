"""The way to the hub, in fresh processes: against one of our own on 127.0.0.1, silence, nothing."""

import hashlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import create_server

import pytest

from labkit import pretrained

GPT2 = pretrained.entry("gpt2").source
assert isinstance(GPT2, pretrained.Hub)
CONTENT = {
    "config.json": b"{}",
    "model.safetensors": b"weights",
    "tokenizer.json": b"{}",
    "pytorch_model.bin": b"a pickle",
    "README.md": b"# GPT-2",
}
NOBODY = "http://127.0.0.1:9"  # the discard port; nothing listens there


@dataclass
class FakeHub:
    gated: bool = False
    asked: list[str] = field(default_factory=list)


class _Handler(BaseHTTPRequestHandler):
    hub: FakeHub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.asked.append(self.path)
        name = self.path.rsplit("/", 1)[-1]
        if "/resolve/" not in self.path:
            self._json(self._tree() if "/tree/" in self.path else self._info())
        elif self.hub.gated:
            self._answer(401, b"", {"X-Error-Code": "GatedRepo"})
        else:
            etag = hashlib.sha1(CONTENT[name]).hexdigest()
            self._answer(200, CONTENT[name], {"ETag": etag, "X-Repo-Commit": GPT2.revision})

    def _info(self) -> object:
        files = [{"rfilename": name} for name in CONTENT]
        return {"id": GPT2.repository, "sha": GPT2.revision, "siblings": files}

    def _tree(self) -> object:
        return [
            {"type": "file", "path": name, "size": len(raw), "oid": hashlib.sha1(raw).hexdigest()}
            for name, raw in CONTENT.items()
        ]

    def _json(self, answer: object) -> None:
        self._answer(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _answer(self, status: int, raw: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(raw))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(raw)

    def log_message(self, *_: object) -> None:
        """Silence."""


@pytest.fixture
def fake_hub() -> Iterator[tuple[FakeHub, str]]:
    state = FakeHub()
    handler = type("Handler", (_Handler,), {"hub": state})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield state, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _process(code: str, endpoint: str, home: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """A process with a hub and a hub's cache of its own; retries would take minutes, not one."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("HF_", "LABKIT_")) and "proxy" not in key.lower()
    }
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(home), "HF_HUB_DISABLE_TELEMETRY": "1"}
    return subprocess.run(
        [sys.executable, "-c", f"from labkit import pretrained\n{code}"],
        env={**clean, **own, **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_weights_and_tokenizer_are_fetched_at_the_pinned_commit_and_no_pickle(
    fake_hub: tuple[FakeHub, str], tmp_path: Path
) -> None:
    hub, endpoint = fake_hub
    done = _process("print(pretrained.folder('gpt2'))", endpoint, tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert {file.name for file in folder.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json",
    }  # fmt: skip
    assert (folder / "model.safetensors").read_bytes() == b"weights"
    assert all(GPT2.revision in path for path in hub.asked)
    assert not any("pytorch_model" in path for path in hub.asked)


@pytest.mark.parametrize("offline", ["0", "1"])
def test_what_was_fetched_once_needs_no_hub_again(
    fake_hub: tuple[FakeHub, str], tmp_path: Path, offline: str
) -> None:
    _, endpoint = fake_hub
    first = _process("print(pretrained.folder('gpt2'))", endpoint, tmp_path)
    code = "print(pretrained.folder('gpt2'))"
    second = _process(code, NOBODY, tmp_path, HF_HUB_OFFLINE=offline)
    assert second.stdout == first.stdout != ""


def test_a_gated_repository_says_so(fake_hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    hub, endpoint = fake_hub
    hub.gated = True
    said = _process("pretrained.load('gpt2')", endpoint, tmp_path).stderr
    assert "its licence has not been accepted by the account in use (GatedRepoError" in said


def test_a_hub_that_refuses_is_given_up_with_what_to_do(tmp_path: Path) -> None:
    said = _process("pretrained.load('bert_large')", NOBODY, tmp_path).stderr
    assert "bert_large (BERT-Large, uncased) could not be fetched" in said
    assert "hf download google-bert/bert-large-uncased --revision 6da4b6a26a" in said
    assert "set LABKIT_MODELS to DIR" in said


def test_a_hub_that_never_answers_is_given_up(tmp_path: Path) -> None:
    with create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        said = _process("pretrained.load('gpt2')", endpoint, tmp_path).stderr
    assert "gpt2 (GPT-2, 124M) could not be fetched" in said


def test_offline_mode_asks_nobody(fake_hub: tuple[FakeHub, str], tmp_path: Path) -> None:
    hub, endpoint = fake_hub
    done = _process("pretrained.load('gpt2')", endpoint, tmp_path, HF_HUB_OFFLINE="1")
    assert "set LABKIT_MODELS to DIR" in done.stderr
    assert hub.asked == []


def test_a_gated_models_steps_begin_with_its_licence(tmp_path: Path) -> None:
    said = _process("pretrained.tokenizer('llama2_13b')", NOBODY, tmp_path).stderr
    assert "accept the licence at https://huggingface.co/meta-llama/Llama-2-13b-hf" in said
