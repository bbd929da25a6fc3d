"""A web server on this machine that sends files, with the faults of real ones."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class FileServer:
    """Files by path, what was asked for, and faults that the next answers have, in order.

    Faults: a status such as "503"; "cut" ends the connection in the middle; "wrong range" sends
    another range; "lengthless" says no length; "-> URL" redirects.
    """

    def __init__(self) -> None:
        self.url = ""
        self.files: dict[str, bytes] = {}
        self.etags = self.ranges = True
        self.faults: list[str] = []
        self.requests: list[tuple[str, str]] = []  # path and range

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range", "")
        self.requests.append((request.path, wanted))
        fault = self.faults.pop(0) if self.faults else ""
        content = self.files.get(request.path)
        if content is None or fault.isdecimal():
            return request.send_error(int(fault) if fault else 404)
        if fault.startswith("->"):
            request.send_response(302)
            request.send_header("Location", fault.removeprefix("-> "))
            return request.end_headers()
        etag = f'"{hash(content)}"'
        start = int(wanted.removeprefix("bytes=").removesuffix("-") or 0)
        if not self.ranges or request.headers.get("If-Range", etag) != etag:
            start = 0
        elif start >= len(content):
            return request.send_error(416)
        request.send_response(206 if start else 200)
        if start:
            first = start + (fault == "wrong range")
            size = len(content)
            request.send_header("Content-Range", f"bytes {first}-{size - 1}/{size}")
        if self.etags:
            request.send_header("ETag", etag)
        rest = content[start:]
        if fault != "lengthless":
            request.send_header("Content-Length", str(len(rest)))
        request.end_headers()
        request.wfile.write(rest[: len(rest) // 2] if fault == "cut" else rest)
        return None


@contextlib.contextmanager
def serving() -> Iterator[FileServer]:
    """Yield a server that runs in a thread."""
    server = FileServer()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            server.answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    web = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.url = f"http://127.0.0.1:{web.server_port}"
    thread = threading.Thread(target=web.serve_forever, args=[0.01])
    thread.start()
    try:
        yield server
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
