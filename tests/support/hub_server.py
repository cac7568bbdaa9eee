"""A server on loopback with the parts of the Hugging Face hub's API that loads of models use."""

from __future__ import annotations

import hashlib
import json
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from math import prod
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

PIECE = 64 * 1024


class Answer(NamedTuple):
    """A status and headers, without a body."""

    status: int
    headers: Mapping[str, str] = MappingProxyType({})


class _Http(ThreadingHTTPServer):
    """An HTTP server whose connections can be broken."""

    daemon_threads = True
    is_closed = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(address, handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that were broken."""

    def break_all(self) -> None:
        """Close the listening socket and every connection."""
        self.is_closed = True
        self.server_close()
        for connection in list(self._open):
            with suppress(OSError):  # its client was quicker
                connection.shutdown(socket.SHUT_RDWR)


class HubServer:
    """Serves each folder ``root/org/name`` as the repository org/name, in one commit on its branch main.

    Faults, by file name unless noted: ``drop_after`` breaks a connection once, after so many bytes;
    ``hold_after`` stops sending after so many bytes until ``release`` is set; ``wrong`` sends other bytes,
    ``wrong_once`` the first time only; ``answers`` are those to give first, before the file (or of a
    repository: before its list of files); ``announces`` is how many bytes too many the list says; ``empty``
    sends no bytes; ``without_ranges`` sends all of it always. ``gated`` and ``broken`` hold repositories
    (403, 500); ``bytes_per_second`` slows each connection. ``stop`` breaks every connection, ``start`` is
    back on the same port. ``requests`` lists the requests received: (method, path, Range header); ``tokens``
    has their Authorization headers by path.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.requests: list[tuple[str, str, str | None]] = []
        self.tokens: dict[str, set[str | None]] = {}
        self.drop_after: dict[str, int] = {}
        self.hold_after: dict[str, int] = {}
        self.holding = threading.Event()
        self.release = threading.Event()
        self.wrong: set[str] = set()
        self.wrong_once: set[str] = set()
        self.answers: dict[str, list[Answer]] = {}
        self.announces: dict[str, int] = {}
        self.empty: set[str] = set()
        self.without_ranges: set[str] = set()
        self.gated: set[str] = set()
        self.broken: set[str] = set()
        self.bytes_per_second: float | None = None
        self._http = self._listen(0)

    @property
    def url(self) -> str:
        """What HF_ENDPOINT must be."""
        return f"http://127.0.0.1:{self._http.server_address[1]}"

    def start(self) -> None:
        """Serve, after a ``stop`` on the same port."""
        if self._http.is_closed:
            self._http = self._listen(self._http.server_address[1])
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        """Break every connection, and refuse new ones."""
        self._http.shutdown()
        self._http.break_all()

    def _listen(self, port: int) -> _Http:
        return _Http(("127.0.0.1", port), type("Handler", (_Handler,), {"hub": self}))

    def __enter__(self) -> HubServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release.set()
        if not self._http.is_closed:
            self.stop()

    def files(self, repo: str) -> dict[str, Path]:
        """The files of a repository by name."""
        folder = self.root / repo
        return {str(path.relative_to(folder)): path for path in sorted(folder.rglob("*")) if path.is_file()}

    def commit(self, repo: str) -> str:
        """The commit of a repository: it changes with any of its files."""
        listing = [(name, _digests(path, _version(path))) for name, path in self.files(repo).items()]
        return hashlib.sha1(repr(listing).encode(), usedforsecurity=False).hexdigest()

    def digests(self, repo: str, name: str) -> tuple[str, str]:
        """The git blob id and the SHA-256 of a file: one of them names its blob in a cache."""
        path = self.root / repo / name
        return _digests(path, _version(path))


def _version(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns


@cache
def _digests(path: Path, version: tuple[int, int]) -> tuple[str, str]:
    """The git blob id and the SHA-256 of a file."""
    blob = hashlib.sha1(f"blob {version[0]}\0".encode(), usedforsecurity=False)
    sha256 = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(2**20):
            blob.update(piece)
            sha256.update(piece)
    return blob.hexdigest(), sha256.hexdigest()


def _counts(files: Mapping[str, Path]) -> dict[str, Any]:
    """How many numbers of each dtype the weights have, as the hub says in its list of files."""
    parameters: dict[str, int] = {}
    for name, path in files.items():
        if name.endswith(".safetensors") and "/" not in name:
            with path.open("rb") as file:
                header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
            header.pop("__metadata__", None)
            for tensor in header.values():
                dtype = tensor["dtype"]
                parameters[dtype] = parameters.get(dtype, 0) + prod(tensor["shape"])
    return {"parameters": parameters, "total": sum(parameters.values())}


def _is_large(name: str) -> bool:
    return name.endswith(".safetensors")


class _Handler(BaseHTTPRequestHandler):
    """One request."""

    hub: HubServer
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._respond()

    def do_GET(self) -> None:
        self._respond()

    def _respond(self) -> None:
        path = unquote(urlsplit(self.path).path)
        self.hub.requests.append((self.command, path, self.headers.get("Range")))
        self.hub.tokens.setdefault(path, set()).add(self.headers.get("Authorization"))
        if path.startswith("/api/models/"):
            if self._answered(path.removeprefix("/api/models/").partition("/revision/")[0]):
                return
            self._respond_api(path.removeprefix("/api/models/"))
            return
        repo, found, rest = path.strip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        if found and self._answered(name):
            return
        if found and self._exists(repo, revision):
            if repo in self.hub.gated:
                self._refuse(403, "GatedRepo")
            elif name not in self.hub.files(repo):
                self._refuse(404, "EntryNotFound", repo)
            else:
                self._send_file(repo, name)
        elif not found:
            self._refuse(404, "RepoNotFound")

    def _answered(self, what: str) -> bool:
        """Whether the request for ``what`` got one of the answers that come first."""
        answers = self.hub.answers.get(what)
        if not answers:
            return False
        answer = answers.pop(0)
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return True

    def _respond_api(self, rest: str) -> None:
        tree = "/tree/" in rest
        repo, _, revision = rest.partition("/tree/" if tree else "/revision/")
        if rest.endswith("/auth-check"):
            self._refuse(403, "GatedRepo")
            return
        if not self._exists(repo, revision or "main"):
            return
        rows = [self._describe(name, path, tree) for name, path in self.hub.files(repo).items()]
        info = {"_id": "0", "id": repo, "sha": self.hub.commit(repo), "tags": [], "siblings": rows}
        with suppress(ValueError):  # the hub says nothing of files that are none
            info["safetensors"] = _counts(self.hub.files(repo))
        info["gated"] = "manual" if repo in self.hub.gated else False
        self._send_json(rows if tree else info)

    def _describe(self, name: str, path: Path, tree: bool) -> dict[str, Any]:
        size = path.stat().st_size + self.hub.announces.get(name, 0)
        blob, sha256 = _digests(path, _version(path))
        row: dict[str, Any] = {"size": size}
        row |= {"type": "file", "path": name, "oid": blob} if tree else {"rfilename": name, "blobId": blob}
        if _is_large(name):
            row["lfs"] = {"oid" if tree else "sha256": sha256, "size": size, "pointerSize": 130}
        return row

    def _exists(self, repo: str, revision: str) -> bool:
        """Whether there is such a repository and revision; responds with an error if not."""
        if repo in self.hub.broken:
            self._refuse(500, "Internal")
        elif not self.hub.files(repo):
            self._refuse(404, "RepoNotFound")
        elif revision not in ("main", self.hub.commit(repo)):
            self._refuse(404, "RevisionNotFound")
        else:
            return True
        return False

    def _refuse(self, status: int, code: str, repo: str | None = None) -> None:
        self.send_response(status)
        self.send_header("X-Error-Code", code)
        if status == 500:
            self.send_header("Retry-After", "0")  # so that a test need not wait between the tries
        if repo is not None:
            self.send_header("X-Repo-Commit", self.hub.commit(repo))
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _send_json(self, value: Any) -> None:
        body = json.dumps(value).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def _send_file(self, repo: str, name: str) -> None:
        path = self.hub.files(repo)[name]
        size = path.stat().st_size
        blob, sha256 = _digests(path, _version(path))
        range_header = None if name in self.hub.without_ranges else self.headers.get("Range")
        start = int(range_header.removeprefix("bytes=").rstrip("-")) if range_header else 0
        if name in self.hub.empty:
            start = size
        elif range_header and start >= size:
            self._refuse(416, "RangeNotSatisfiable")
            return
        self.send_response(206 if range_header else 200)
        self.send_header("X-Repo-Commit", self.hub.commit(repo))
        self.send_header("ETag", f'"{sha256 if _is_large(name) else blob}"')
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(size - start))
        if range_header:
            self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
        self.end_headers()
        if self.command == "GET":
            self._send_body(name, path, start)

    def _next(self, name: str, position: int) -> int:
        """How many bytes to send at once: up to the byte at which to hold or to break."""
        stops = (table.get(name, 0) - position for table in (self.hub.hold_after, self.hub.drop_after))
        return min([PIECE, *(left for left in stops if left > 0)])

    def _send_body(self, name: str, path: Path, position: int) -> None:
        hub = self.hub
        is_wrong = name in hub.wrong or name in hub.wrong_once
        hub.wrong_once.discard(name)
        with path.open("rb") as file:
            file.seek(position)
            while piece := file.read(self._next(name, position)):
                try:
                    self.wfile.write(bytes(len(piece)) if is_wrong else piece)
                except ConnectionError:  # the client has disconnected
                    self.close_connection = True
                    return
                position += len(piece)
                if position >= hub.hold_after.get(name, position + 1):
                    hub.holding.set()
                    hub.release.wait()
                if position >= hub.drop_after.get(name, position + 1):
                    del hub.drop_after[name]
                    self.close_connection = True
                    return
                if hub.bytes_per_second is not None:
                    hub.release.wait(len(piece) / hub.bytes_per_second)
