"""A service on this machine that notifications are sent to, and that may be down or slow."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Webhook:
    """What it was sent, as JSON; `status` is how it answers."""

    def __init__(self) -> None:
        self.messages: list[dict[str, Any]] = []
        self.times: list[datetime] = []
        self.beats = 0
        self.status = 200
        self.seconds = 0.0
        self.port = 0

    def url(self, secret: str = "s3cr3t") -> str:
        return f"json://user:{secret}@127.0.0.1:{self.port}/hook-{secret}"

    @property
    def heartbeat_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/beat"

    def events(self) -> list[tuple[str, str | None]]:
        return [(each["event"], each["code"]) for each in self.messages]


@contextmanager
def webhook() -> Iterator[Webhook]:
    hook = Webhook()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            time.sleep(hook.seconds)
            if hook.status == 200:
                hook.times.append(datetime.now(UTC))
                hook.messages.append(json.loads(body))
            self._answer()

        def do_GET(self) -> None:
            hook.beats += hook.status == 200
            self._answer()

        def _answer(self) -> None:
            self.send_response(hook.status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    hook.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield hook
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
