"""A Hub on this machine: it serves a folder as the real one does, and misbehaves when it is told to."""

import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

COMMIT = "a" * 40


class Handler(BaseHTTPRequestHandler):
    """One request. The server's `misbehave` may answer it instead, by returning True."""

    server: "StubHub"
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        """Descriptions of models, and their files, also from the middle on."""
        self.path = unquote(self.path)
        self.server.seen.append(f"GET {self.path}")
        self.server.headers_seen.append(dict(self.headers.items()))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        path = urlsplit(self.path).path
        name = self.server.repo
        if path == "/api/whoami-v2" and self.server.user is not None:
            self.answer(200, json.dumps({"type": "user", "name": self.server.user}).encode())
            return
        if path in (f"/api/models/{name}", *(f"/api/models/{name}/revision/{r}" for r in ("main", COMMIT))):
            self.answer(200, json.dumps(self.server.description()).encode())
        elif path.startswith(f"/{name}/resolve/{COMMIT}/"):
            self.send_file(self.server.folder / path.rsplit("/", 1)[1])
        else:
            self.answer(404, b'{"error":"Repository not found"}', {"X-Error-Code": "RepoNotFound"})

    def do_POST(self) -> None:
        """New repositories, and commits of files that are sent whole."""
        self.path = unquote(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        self.server.seen.append(f"POST {self.path}")
        self.server.headers_seen.append(dict(self.headers.items()))
        if self.server.misbehave is not None and self.server.misbehave(self):
            return
        server, content = self.server, {} if "/commit/" in self.path else json.loads(body)
        answer: dict[str, Any] = {}
        if self.path == "/api/repos/create":
            server.created.append(content)
            answer = {"url": f"{server.endpoint}/{content['organization']}/{content['name']}"}
        elif "/preupload/" in self.path:
            files = [
                {"path": f["path"], "uploadMode": "regular", "shouldIgnore": False} for f in content["files"]
            ]
            answer = {"files": files}
        elif "/commit/" in self.path:
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    server.committed[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
            answer = {"commitUrl": f"{server.endpoint}/{server.repo}/commit/{COMMIT}", "commitOid": COMMIT}
        self.answer(200, json.dumps(answer).encode())

    def send_file(self, path: Path) -> None:
        """A file, or the rest of it from the byte that a Range header names."""
        if not path.is_file():
            self.answer(404, b"", {"X-Error-Code": "EntryNotFound"})
            return
        data = path.read_bytes()
        asked = self.headers.get("Range", "").removeprefix("bytes=").removesuffix("-")
        if not asked:
            self.answer(200, data)
            return
        begin = int(asked)
        self.answer(206, data[begin:], {"Content-Range": f"bytes {begin}-{len(data) - 1}/{len(data)}"})

    def answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        """Sends a whole answer."""
        self.start(status, {"Content-Length": str(len(body))} | (headers or {}))
        self.wfile.write(body)

    def start(self, status: int, headers: dict[str, str]) -> None:
        """Sends the beginning of an answer."""
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Says nothing."""


class StubHub(ThreadingHTTPServer):
    """Serves one model, `repo`, from a folder, until it is closed."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, folder: Path, repo: str = "somebody/some-model") -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.folder = folder
        self.repo = repo
        self.changes: dict[str, Any] = {}  # in the description
        self.misbehave: Callable[[Handler], bool] | None = None
        self.seen: list[str] = []
        self.headers_seen: list[dict[str, str]] = []
        self.user: str | None = None  # who is signed in
        self.created: list[dict[str, Any]] = []  # requests for new repositories
        self.committed: dict[str, bytes] = {}  # files that were sent
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()

    @property
    def endpoint(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def description(self) -> dict[str, Any]:
        """What the Hub says about a model: large files by SHA-256, small ones by git's SHA-1."""
        siblings = []
        for path in sorted(p for p in self.folder.iterdir() if p.is_file()):
            data = path.read_bytes()
            entry: dict[str, Any] = {"rfilename": path.name, "size": len(data)}
            entry["blobId"] = hashlib.sha1(f"blob {len(data)}\0".encode() + data).hexdigest()
            if path.suffix in (".safetensors", ".bin"):
                entry["blobId"] = "0" * 40  # of the pointer
                entry["lfs"] = {
                    "sha256": hashlib.sha256(data).hexdigest(),
                    "size": len(data),
                    "pointerSize": 134,
                }
            siblings.append(entry)
        facts = {"id": self.repo, "sha": COMMIT, "private": False, "gated": False, "siblings": siblings}
        return facts | self.changes

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that leaves in the middle is no fault."""


def drip(handler: Handler, data: bytes, *, seconds: float) -> None:
    """Sends a byte now and then, for ever."""
    handler.start(200, {"Content-Length": str(len(data))})
    for byte in data:
        handler.wfile.write(bytes([byte]))
        handler.wfile.flush()
        time.sleep(seconds)
