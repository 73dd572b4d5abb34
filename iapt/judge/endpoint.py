"""Sends prompts to an OpenAI-compatible endpoint and keeps every reply on disk.

The official `openai` client sends the requests and retries them, with exponential back-off, after 408,
409, 429, 5xx, time-outs and cut connections.  This module retries, with the same back-off, a response of
status 200 that is not a chat completion (some proxies send an error page that way).

A reply goes to the cache as soon as it arrives, atomically, in a file named by a hash of everything that
the reply depends on (endpoint, model, settings, prompt).  So a killed run resumes where it was, and no
question is paid for twice.

Secrets (the key, and a user and password in the address) are never stored: `Endpoint` keeps them apart
from the settings, and masks them in errors and replies if a server echoes them.
"""

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from iapt.errors import ConfigError, DataError, JudgeError
from iapt.files import read_json, write_json

if TYPE_CHECKING:
    import openai

_FIRST_DELAY_SECONDS = 0.5
_LONGEST_DELAY_SECONDS = 8.0
_SHORTEST_SECRET = 6  # shorter ones ("none", "EMPTY") stand for none, and occur in ordinary text


@dataclass(frozen=True)
class Reply:
    """A judge's reply: its text, its cost in tokens, and whether it came from the cache."""

    text: str
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached: bool = False


@dataclass(frozen=True)
class EndpointSettings:
    """What a reply depends on, and how often to retry.

    Attributes:
        model: the judge's name at the endpoint.
        base_url: the endpoint, which usually ends in `/v1`; without user and password.
        temperature: sampling temperature; None leaves it to the endpoint.
        max_tokens: the longest reply in tokens; None leaves it to the endpoint.
        retries: the most repetitions of a failed request.
        timeout_seconds: the time limit of one request.
    """

    model: str
    base_url: str
    temperature: float | None = 0.0
    max_tokens: int | None = 1024
    retries: int = 6
    timeout_seconds: float = 120.0

    def request(self, prompt: str) -> dict[str, Any]:
        """Return the request's body."""
        optional = {"temperature": self.temperature, "max_tokens": self.max_tokens}
        return {
            "model": self.model,
            "messages": [{"role": "user", "content": prompt}],
            **{name: value for name, value in optional.items() if value is not None},
        }


@dataclass
class Usage:
    """Tokens of the replies so far, with new replies and cached ones counted separately."""

    requests: int = 0
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_prompt_tokens: int = 0
    cached_completion_tokens: int = 0

    def add(self, reply: Reply) -> None:
        """Count one reply."""
        if reply.cached:
            self.cached += 1
            self.cached_prompt_tokens += reply.prompt_tokens
            self.cached_completion_tokens += reply.completion_tokens
        else:
            self.requests += 1
            self.prompt_tokens += reply.prompt_tokens
            self.completion_tokens += reply.completion_tokens


@dataclass
class Endpoint:
    """A judge; use it in a `with` block, and call `ask`.

    Attributes:
        settings: the model and how to ask it.
        api_key: the endpoint's key.
        cache_dir: one JSON file per reply.
        login: "user:password" for HTTP basic authentication, which replaces the key; or "".
        usage: counts, updated by `ask`.
        sleep: waits between this module's own attempts (a test replaces it).
    """

    settings: EndpointSettings
    api_key: str = field(repr=False)
    cache_dir: Path
    login: str = field(default="", repr=False)
    usage: Usage = field(default_factory=Usage)
    sleep: Callable[[float], None] = time.sleep
    _client: "openai.OpenAI | None" = None

    def __enter__(self) -> "Endpoint":
        return self

    def __exit__(self, *_: object) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None

    def ask(self, prompt: str) -> Reply:
        """Return the judge's reply to a prompt, the whole user message; from the cache if it is there.

        Raises:
            JudgeError: the `openai` package is missing, the endpoint refuses the request, or it
                still fails after all retries. The cache keeps earlier replies.
        """
        request = self.settings.request(prompt)
        path = self.cache_dir / f"{_key(self.settings.base_url, request)}.json"
        reply = _read(path)
        if reply is None:
            body = self._masked(self._send(request))
            reply = _reply(body, cached=False)
            write_json(path, {"base_url": self.settings.base_url, "request": request, "body": body})
        self.usage.add(reply)
        return reply

    def _send(self, request: Mapping[str, Any]) -> dict[str, Any]:
        client = self._open()
        import openai

        create = client.chat.completions.with_raw_response.create
        for attempt in range(self.settings.retries + 1):
            try:
                text = create(**request).text
            except openai.APIStatusError as error:
                raise JudgeError(self._refused(error)) from error
            except openai.OpenAIError as error:
                raise JudgeError(
                    f"the judge at {self.settings.base_url} gave no answer after "
                    f"{self.settings.retries} retries: {self._masked(str(error)).rstrip('.')}. Check base_url "
                    "and the network, then repeat the command: the cache keeps earlier replies."
                ) from error
            body = _completion(text)
            if body is not None:
                return body
            if attempt < self.settings.retries:
                self.sleep(min(_FIRST_DELAY_SECONDS * 2**attempt, _LONGEST_DELAY_SECONDS))
        raise JudgeError(
            f"the judge at {self.settings.base_url} answered {self.settings.retries + 1} times "
            f"with something that is not a chat completion, most recently {self._masked(text)[:80]!r}. Check "
            "that base_url is the root of an OpenAI-compatible API (it usually ends in /v1)."
        )

    def _open(self) -> "openai.OpenAI":
        if self._client is None:
            try:
                import openai
            except ImportError as error:
                raise JudgeError(
                    "iapt-judge needs the openai client: pip install 'iapt[judge]'."
                ) from error
            basic = {"Authorization": f"Basic {_base64(self.login)}"}
            self._client = openai.OpenAI(
                api_key=self.api_key,
                default_headers=basic if self.login else None,
                base_url=self.settings.base_url,
                max_retries=self.settings.retries,
                timeout=self.settings.timeout_seconds,
            )
        return self._client

    def _refused(self, error: "openai.APIStatusError") -> str:
        advice = {
            401: "Check OPENAI_API_KEY.",
            403: "Check that the key may use this model.",
            404: "Check base_url and model.",
            400: "Some models refuse these: try temperature=null max_tokens=null.",
        }.get(error.status_code, "Repeat the command later: the cache keeps earlier replies.")
        return (
            f"the judge at {self.settings.base_url} answered {error.status_code} for model "
            f"{self.settings.model!r}: {self._masked(str(error))[:300]} {advice}"
        )

    def _masked(self, value: Any) -> Any:
        """Return a text or JSON value with every secret masked as `***`."""
        if isinstance(value, dict):
            return {self._masked(key): self._masked(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self._masked(item) for item in value]
        if isinstance(value, str):
            password = self.login.partition(":")[2]
            for secret in (self.api_key, _base64(self.login), self.login, password):
                if len(secret) >= _SHORTEST_SECRET:
                    value = value.replace(secret, "***")
        return value


def split_address(address: str) -> tuple[str, str]:
    """Return an endpoint's address without user and password, and "user:password" or "".

    Raises:
        ConfigError: it is not an http address; the message omits it, because it may contain a password.
    """
    try:
        parts = urlsplit(address)
        login, _, host = parts.netloc.rpartition("@")
        plain = "@" not in parts.path and not parts.query and not parts.fragment
        if parts.scheme in ("http", "https") and parts.hostname and plain:
            return parts._replace(netloc=host).geturl(), unquote(login)
    except ValueError:  # unbalanced brackets
        pass
    raise ConfigError(
        "base_url: must be an address such as http://localhost:8000/v1, without ?key=value (in a user or a "
        "password write @ as %40 and / as %2F)."
    )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _key(base_url: str, request: Mapping[str, Any]) -> str:
    content = json.dumps({"base_url": base_url, **request}, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(content.encode()).hexdigest()


def _completion(text: str) -> dict[str, Any] | None:
    """Return the body if it contains a reply, else None."""
    try:
        body = json.loads(text)
        return body if isinstance(_reply(body, cached=False).text, str) else None
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError):
        return None


def _reply(body: Mapping[str, Any], cached: bool) -> Reply:
    usage = body.get("usage") or {}
    return Reply(
        text=body["choices"][0]["message"].get("content") or "",
        prompt_tokens=int(usage.get("prompt_tokens") or 0),
        completion_tokens=int(usage.get("completion_tokens") or 0),
        cached=cached,
    )


def _read(path: Path) -> Reply | None:
    """Return a reply from the cache, or None if its file is absent or damaged."""
    try:
        body = _completion(json.dumps(read_json(path)["body"]))
    except (DataError, TypeError, LookupError):
        return None
    return None if body is None else _reply(body, cached=True)
