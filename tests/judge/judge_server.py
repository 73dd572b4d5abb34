"""A small OpenAI-compatible server on this machine that can misbehave, for the judge's tests."""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

GOOD_REPLY = "Assistant 1 is clear.\nScore: 8/10\n\nAssistant 2 is short.\nScore: 6/10"


class JudgeServer(ThreadingHTTPServer):
    """Answers each request by the next step of `plan`, and by a good reply once that is used up.

    Attributes:
        plan: "ok", "429", "500", "400", "401", "401 <words>" (said in the error), "200 <page>", "cut" (closed
            without an answer), "half" (closed in the middle of the body), "html" (status 200 and a web
            page), "nonsense" (JSON of another kind), "wait" (no answer until `go_on` is set), or the text
            of a reply.
        bodies: requests received, in order.
        keys: their Authorization headers.
        answer: makes the reply's text from the prompt.
        go_on: ends what "wait" began.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.plan: list[str] = []
        self.bodies: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.paths: list[str] = []
        self.answer: Callable[[str], str] = lambda prompt: GOOD_REPLY
        self.go_on = threading.Event()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection cut on purpose is no news."""


class _Handler(BaseHTTPRequestHandler):
    server: JudgeServer

    def log_message(self, format: str, *args: object) -> None:
        pass

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        self.server.paths.append(self.path)
        self.server.keys.append(self.headers.get("Authorization", ""))
        step = self.server.plan.pop(0) if self.server.plan else "ok"
        if step == "cut":
            self.close_connection = True
            return
        if step == "wait":
            self.server.go_on.wait(30)
            step = "ok"
        status, _, told = step.partition(" ")
        if status == "200" and told:
            self._send(200, told, "text/html")
        elif status.isdigit():
            self._send(int(status), {"error": {"message": f"made to fail with {step}"}})
        elif step == "html":
            self._send(200, "<html>Service is warming up</html>", "text/html")
        elif step == "nonsense":
            self._send(200, {"choices": []})
        elif step == "half":
            self._send(200, self._completion(GOOD_REPLY), announced=100_000)
            self.close_connection = True
        else:
            text = self.server.answer(body["messages"][0]["content"]) if step == "ok" else step
            self._send(200, self._completion(text))

    def _completion(self, text: str) -> dict[str, Any]:
        return {
            "id": "x",
            "object": "chat.completion",
            "model": "test-judge",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }

    def _send(
        self, status: int, body: object, kind: str = "application/json", announced: int = 0
    ) -> None:
        content = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(announced or len(content)))
        self.send_header("retry-after-ms", "5")  # keeps the client's back-off short
        self.end_headers()
        self.wfile.write(content)


@contextmanager
def running_server() -> Iterator[JudgeServer]:
    """Serve on a free port until the block ends."""
    with JudgeServer() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()
