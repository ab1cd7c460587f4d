"""The view's server: one page and three answers, on 127.0.0.1 only, to whoever was given its address.

The standard library's server: what is asked is a page and a few small answers a second, and aiohttp would take longer
to import than any of them to give. Nothing changes by a request, only GET is known, and no path is made of its text:
runs and episodes are numbers. A page elsewhere whose name is turned to 127.0.0.1 is refused by the Host that its
browser sends, and the other accounts of the machine by a word that only the printed address has. It stands in the path:
a cookie would be sent to every other server of 127.0.0.1, too.
"""

from __future__ import annotations

import hmac
import json
import re
import secrets
import sys
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from socket import socket
from socketserver import TCPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from harness.console.text import printable
from harness.errors import UsageError
from results.view.folder import LiveFolder
from results.view.page import build_page

HOST = "127.0.0.1"
NUMBER = re.compile("[0-9]{1,9}")
CONNECTIONS = 64
"""At once; a browser has six. One more is closed unread: each has a thread for as long as its other side is silent."""
HEADERS = {
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def serve_view(root: Path, port: int) -> None:
    """Serves a folder until Ctrl-C; 0 is a port that is free. Raises UsageError where there is no folder, or
    the port is taken."""
    if not root.is_dir():
        raise UsageError(f"{root} is no folder.")
    folder = LiveFolder(root)
    try:
        server = ViewServer(folder, port)
    except OSError as error:
        raise UsageError(f"Port {port} of {HOST} cannot be had: {error.strerror}; name another with --port.") from None
    with server:
        print(f"http://{HOST}:{server.server_port}/{server.token}/", flush=True)
        count = f"{len(folder.runs)} run" + ("" if len(folder.runs) == 1 else "s")
        print(printable(f"{count} in {root}, followed until Ctrl-C."), file=sys.stderr)
        folder.start()
        with suppress(KeyboardInterrupt):
            server.serve_forever()


class ViewServer(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, folder: LiveFolder, port: int) -> None:
        super().__init__((HOST, port), ViewHandler)
        self.folder = folder
        self.token = secrets.token_hex(16)
        self.page = build_page()
        asked = "" if self.server_port == 80 else f":{self.server_port}"
        self.names = {f"{name}{asked}" for name in (HOST, "localhost")}
        self._free = threading.BoundedSemaphore(CONNECTIONS)

    def server_bind(self) -> None:
        """Without the base class's question for the host's name, which may go to a name server."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = HOST, self.socket.getsockname()[1]

    def process_request(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """Begins a thread for a connection, while there are not too many."""
        if not self._free.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except Exception:  # no thread began, which would have freed the place
            self._free.release()
            raise

    def process_request_thread(self, request: socket | tuple[bytes, socket], client_address: Any) -> None:
        """A connection, in its thread."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: object, client_address: object) -> None:
        """A browser that leaves in the middle of an answer is nothing to tell of."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class ViewHandler(BaseHTTPRequestHandler):
    """One connection."""

    server: ViewServer
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "harness", ""
    timeout = 60

    def do_GET(self) -> None:
        try:
            status, kind, text = self._answer()
        except (UsageError, OSError) as error:
            status, kind, text = HTTPStatus.CONFLICT, "text/plain", str(error)
        except (LookupError, ValueError):
            status, kind, text = HTTPStatus.NOT_FOUND, "text/plain", "There is no such thing here."
        self._send(status, kind, text)

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """What the base class says to any other method, or to what is no HTTP."""
        self.close_connection = True  # whatever else was sent is not read
        status = HTTPStatus.METHOD_NOT_ALLOWED if code == HTTPStatus.NOT_IMPLEMENTED else HTTPStatus(code)
        self._send(status, "text/plain", "Only GET is answered.")

    def _answer(self) -> tuple[HTTPStatus, str, str]:
        """Raises LookupError or ValueError for what there is not, UsageError for what cannot be read."""
        if self.headers.get_all("Host") not in [[name] for name in self.server.names]:
            return HTTPStatus.FORBIDDEN, "text/plain", "This server answers to its own address only."
        asked = urlsplit(self.path)
        token, slash, what = asked.path.removeprefix("/").partition("/")
        if not hmac.compare_digest(token.encode(), self.server.token.encode()):
            return HTTPStatus.FORBIDDEN, "text/plain", "Open the whole address that `harness view` printed."
        return self._tell(slash + what, asked.query)

    def _tell(self, what: str, query: str) -> tuple[HTTPStatus, str, str]:
        """What somebody with the token asks for. Raises as `_answer` does."""
        folder = self.server.folder
        if what == "/":
            return HTTPStatus.OK, "text/html", self.server.page.text
        if what == "/runs":
            return HTTPStatus.OK, "application/json", _json(folder.describe())
        if what == "/episodes":
            return HTTPStatus.OK, "application/json", folder.list_episodes(*_numbers(query, "run", "from"))
        if what == "/transcript":
            found = folder.read_transcript(*_numbers(query, "run", "episode"))
            return HTTPStatus.OK, "application/json", _json(found)
        raise LookupError

    def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
        content = text.encode("utf-8", "replace")
        self.send_response(status)
        for name, value in {**HEADERS, "Content-Security-Policy": self.server.page.policy}.items():
            self.send_header(name, value)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(content)))
        if status == HTTPStatus.METHOD_NOT_ALLOWED:
            self.send_header("Allow", "GET")
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing: the terminal shows the address, and what is asked is shown in the browser."""


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _numbers(query: str, *names: str) -> list[int]:
    """Raises KeyError or ValueError where one is not given as a number."""
    given = parse_qs(query, max_num_fields=4)
    found = [given[name][0] for name in names]
    if not all(map(NUMBER.fullmatch, found)):
        raise ValueError(query)
    return list(map(int, found))
