"""A stand-in for the Hugging Face hub and for a raw file server, which the real clients accept.

It answers over plain HTTP on this machine: listings with the hashes of every file, files with ranges, gates, and
the faults that a test asks for. Repositories live in memory.
"""

import hashlib
import json
import re
import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import unquote, urlsplit

LARGE = (".parquet", ".safetensors")  # stored by the hub under their SHA-256, others under git's id
LOGIN_PAGE = b"<!doctype html><title>Log in to the network</title>"


def git_id(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


@dataclass
class Fault:
    """What goes wrong at requests whose path matches, as often as asked.

    Kinds: a status, "cut" (the connection breaks in the middle of a file), "flip" (one bit of it), "login page",
    "short" (the file is announced and sent too short), "reset" (no answer at all).
    """

    match: str
    kind: str | int
    times: int = 1000
    method: str = "GET"
    code: str | None = None  # X-Error-Code

    def takes(self, method: str, path: str) -> bool:
        if self.times and self.method == method and re.search(self.match, path):
            self.times -= 1
            return True
        return False


class HubServer:
    """Repositories, raw files, faults, and the requests so far."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], dict[str, Mapping[str, bytes]]] = {}
        self.raw: dict[str, bytes] = {}
        self.tokens: dict[str, str] = {}  # of gated repositories
        self.faults: list[Fault] = []
        self.requests: list[tuple[str, str]] = []
        self.url = ""

    def add(self, kind: str, name: str, revision: str, files: Mapping[str, bytes]) -> None:
        """Publish a revision; `kind` is "models" or "datasets"."""
        self.repositories.setdefault((kind, name), {})[revision] = dict(files)

    def fail(self, match: str, kind: str | int, **more: Any) -> None:
        self.faults.append(Fault(match, kind, **more))

    def asked_for(self, part: str) -> list[str]:
        return [path for _, path in self.requests if part in path]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub: HubServer

    def log_message(self, *_: Any) -> None:
        pass

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        self.hub.requests.append((self.command, self.path))
        fault = next((f for f in self.hub.faults if f.takes(self.command, self.path)), None)
        kind = fault.kind if fault else None
        if fault and isinstance(kind, int):
            self.refuse(kind, fault.code, "made up for a test")
        elif kind == "reset":
            self.hang_up()
        elif kind == "login page":
            self.send(200, LOGIN_PAGE, {"Content-Type": "text/html"})
        else:
            self.serve([unquote(p) for p in urlsplit(self.path).path.split("/") if p], kind)

    def serve(self, parts: list[str], fault: Any) -> None:
        if not parts:
            self.send(200, b"a hub")
        elif parts[0] == "raw":
            content = self.hub.raw.get("/".join(parts[1:]))
            if content is None:
                self.refuse(404, None, "no such file")
            else:
                self.content(content, {}, fault)
        elif parts[0] == "api" and len(parts) >= 4:
            self.answer(parts[1], "/".join(parts[2:4]), parts[4:])
        elif "resolve" not in parts[2:4]:
            self.refuse(404, None, "no such page")
        else:
            kind = "datasets" if parts[0] == "datasets" else "models"
            parts = parts[1:] if kind == "datasets" else parts
            self.resolve(kind, "/".join(parts[:2]), parts[3], "/".join(parts[4:]), fault)

    def answer(self, kind: str, name: str, rest: list[str]) -> None:
        found = self.revision(kind, name, rest[1] if len(rest) > 1 else "main")
        if found is None:
            return
        commit, files = found
        if rest[:1] == ["tree"]:
            body: Any = [{"type": "directory", "oid": "0" * 40, "size": 0, "path": "folder"}]
            body += [entry(path, content) for path, content in files.items()]
        else:
            body = {"id": name, "sha": commit, "siblings": [{"rfilename": p} for p in files]}
        self.send(200, json.dumps(body).encode(), {"Content-Type": "application/json"})

    def resolve(self, kind: str, name: str, revision: str, path: str, fault: Any) -> None:
        found = self.revision(kind, name, revision)
        if found is None:
            return
        commit, files = found
        if path not in files:
            self.refuse(404, "EntryNotFound", "Entry not found")
            return
        row = entry(path, files[path])
        tag = row["lfs"]["oid"] if "lfs" in row else row["oid"]
        self.content(files[path], {"ETag": f'"{tag}"', "X-Repo-Commit": commit}, fault)

    def revision(
        self, kind: str, name: str, revision: str
    ) -> tuple[str, Mapping[str, bytes]] | None:
        """A commit and its files; refuses as the hub does, and returns None, where there is none."""
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
        asked = self.hub.tokens.get(name)
        have = self.hub.repositories.get((kind, name))
        if have is None:
            self.refuse(404 if token else 401, "RepoNotFound", "Repository not found")
        elif asked and asked != token:
            self.refuse(403 if token else 401, "GatedRepo", f"Access to {name} is restricted")
        elif revision == "main":
            return list(have.items())[-1]
        elif revision in have:
            return revision, have[revision]
        else:
            self.refuse(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return None

    def content(self, content: bytes, headers: dict[str, str], fault: Any) -> None:
        middle = len(content) // 2
        if fault == "flip":
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        if fault == "short":
            content = content[:middle]
        part = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        start = int(part[1]) if part else 0
        if part:
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        if fault == "cut":
            self.send_headers(206 if part else 200, len(content) - start, headers)
            self.wfile.write(content[start : start + (len(content) - start) // 2])
            self.hang_up()
        else:
            self.send(206 if part else 200, content[start:], headers)

    def refuse(self, status: int, code: str | None, text: str) -> None:
        headers = {"X-Error-Message": text} | ({"X-Error-Code": code} if code else {})
        self.send(status, json.dumps({"error": text}).encode(), headers)

    def send(self, status: int, body: bytes, headers: Mapping[str, str] | None = None) -> None:
        self.send_headers(status, len(body), headers or {})
        if self.command != "HEAD":
            self.wfile.write(body)

    def send_headers(self, status: int, length: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for key, value in {"Content-Length": str(length), **headers}.items():
            self.send_header(key, value)
        self.end_headers()

    def hang_up(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        self.connection.shutdown(socket.SHUT_RDWR)


def entry(path: str, content: bytes) -> dict[str, Any]:
    """A file as the hub lists it."""
    row: dict[str, Any] = {
        "type": "file",
        "path": path,
        "size": len(content),
        "oid": git_id(content),
    }
    if path.endswith(LARGE):
        digest = hashlib.sha256(content).hexdigest()
        row["lfs"] = {"oid": digest, "size": len(content), "pointerSize": 130}
    return row


@contextmanager
def hub_server() -> Iterator[HubServer]:
    hub = HubServer()
    handler = type("HubHandler", (Handler,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield hub
        finally:
            server.shutdown()
            thread.join()
