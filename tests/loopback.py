"""A web server on the loopback interface that fails on demand, for tests of downloads."""

from __future__ import annotations

import re
import threading
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self


@dataclass
class Served:
    """One file, and how its requests go wrong: each request takes the first value of a list that has one."""

    content: bytes
    etag: str | None = '"v1"'
    ranges: bool = True  # whether Range and If-Range are understood
    misplaced: int = 0  # bytes by which a range starts too late
    length: bool = True  # whether the length is said in advance; otherwise the answer is chunked
    refusals: list[tuple[int, dict[str, str]]] = field(default_factory=list)  # status and headers
    phrase: str | None = None  # what a refusal says beside its status
    drops: list[int] = field(default_factory=list)  # bytes after which the connection is closed
    drip: float | None = None  # seconds between one byte and the next
    headers: dict[str, str] = field(default_factory=dict)  # in the place of others of their names
    hold_after: int | None = None  # bytes after which nothing more is sent until the server stops


@dataclass(frozen=True)
class Request:
    """One request as the server saw it."""

    path: str
    range: str | None
    status: int


class Loopback:
    """Serves ``files`` (path → `Served`) at ``url`` while its context is open and notes the ``requests``."""

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.requests: list[Request] = []
        self.released = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.released.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def _handler(loopback: Loopback) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.close_connection = True
            served = loopback.files.get(self.path.lstrip("/"))
            if served is None:
                self._refuse(404, {})
            elif served.refusals:
                self._refuse(*served.refusals.pop(0), served.phrase)
            else:
                self._serve(served)

        def _note(self, status: int, phrase: str | None = None) -> None:
            loopback.requests.append(Request(self.path, self.headers.get("Range"), status))
            self.send_response(status, phrase)

        def _refuse(self, status: int, headers: dict[str, str], phrase: str | None = None) -> None:
            self._note(status, phrase)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name, value)
            self.end_headers()

        def _serve(self, served: Served) -> None:
            start = self._start(served)
            if start >= len(served.content):
                self._refuse(416, {"Content-Range": f"bytes */{len(served.content)}"})
                return
            self._note(206 if start else 200)
            body = served.content[start:]
            if served.etag:
                self.send_header("ETag", served.etag)
            if start:
                size = len(served.content)
                self.send_header("Content-Range", f"bytes {start}-{size - 1}/{size}")
            if served.length:
                self.send_header("Content-Length", served.headers.get("Content-Length", str(len(body))))
            else:
                self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self._send(served, body)

        def _start(self, served: Served) -> int:
            match = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
            same = self.headers.get("If-Range", served.etag) == served.etag
            return int(match[1]) + served.misplaced if match and same and served.ranges else 0

        def _send(self, served: Served, body: bytes) -> None:
            stop = served.drops.pop(0) if served.drops else served.hold_after
            first = body[:stop]
            if served.drip:
                self._drip(first, served.drip)
                return
            self.wfile.write(first if served.length else b"%x\r\n%s\r\n" % (len(first), first))
            if stop is None and not served.length:
                self.wfile.write(b"0\r\n\r\n")
            self.wfile.flush()
            if served.hold_after is not None:
                loopback.released.wait()

        def _drip(self, body: bytes, seconds: float) -> None:
            for place in range(len(body)):
                if loopback.released.wait(seconds):
                    return
                with suppress(ConnectionError):
                    self.wfile.write(body[place : place + 1])
                    self.wfile.flush()

        def log_message(self, format: str, *args: object) -> None:
            """Say nothing: `Loopback.requests` tells it all."""

    return Handler
