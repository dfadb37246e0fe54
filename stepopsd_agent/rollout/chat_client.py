"""A client for chat completions of any server with OpenAI's interface, by the standard library alone."""

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from http.client import HTTPException, HTTPMessage
from typing import IO, Any
from urllib.parse import urlsplit

from stepopsd_envs.bearer import bearer_secret
from stepopsd_wrappers.plain_json import as_unicode

BUSY = frozenset({408, 409, 425, 429, 500, 502, 503, 504})
"""Answers after which the same request may succeed."""
FAULT = 500
"""The status of an error inside a server, which seldom tells what it was."""
MAX_BYTES = 2**24
NOTICED_S = 1.0
"""A pause from which on a person wonders whether anything goes on."""
KEY = "OPENAI_API_KEY"
REAL_KEY = 16
"""Characters from which on a key is kept out of answers as well; "EMPTY" may be what a model wrote."""

Message = dict[str, str]


class ServedModelError(Exception):
    """A server gave no usable answer; the message quotes what it answered, and never the API key.

    Attributes:
        status: HTTP status of the last answer; None if there was none, or it was not an error.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Reply:
    """An answer with its costs.

    Attributes:
        text: of the answer.
        prompt_tokens: as the server counts them; -1 if it does not say.
        completion_tokens: likewise.
        tries: requests that it took.
        cut: whether the limit of tokens ended it, and not the model.
    """

    text: str
    prompt_tokens: int
    completion_tokens: int
    tries: int
    cut: bool = False


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another server."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: HTTPMessage,
        newurl: str,
    ) -> None:
        """Follow none; the status becomes the error."""


class ChatClient:
    """Asks one server; several threads may ask at once."""

    def __init__(
        self,
        url: str,
        *,
        deadline: float = 120.0,
        retries: int = 5,
        backoff: float = 0.5,
        setting: str = "openai.url",
    ) -> None:
        """Name the server; the key is the environment's, if it has one.

        Args:
            url: of the interface, such as http://localhost:8000/v1.
            deadline: seconds for one answer, repetitions included.
            retries: repetitions of a request that may succeed later.
            backoff: seconds before the first of them, doubled before each further one.
            setting: that the url comes from, for messages.

        Raises:
            ValueError: the url is none of HTTP, or has a password in it; or no header can hold the key.
        """
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError(f"{setting} is {url!r}; give one such as http://localhost:8000/v1")
        if parts.username or parts.password or parts.query:
            raise ValueError(f"{setting} has a password or a query in it; put the key into {KEY} instead")
        self.url, self.setting = url.rstrip("/"), setting
        self.deadline, self.retries, self.backoff = deadline, retries, backoff
        self._key = bearer_secret(KEY)
        self._opener = urllib.request.build_opener(_NoRedirects)

    def models(self, waiting: Callable[[str], None] | None = None) -> list[str]:
        """Names of the models that the server lists.

        Args:
            waiting: told in words, once, when the server is to be asked again after a noticeable pause.

        Raises:
            ServedModelError: there is no such server, or it says no.
        """
        try:
            # A server that cannot list its models says 500, and will say so again.
            return [str(entry["id"]) for entry in self._ask("models", None, BUSY - {500}, waiting)[0]["data"]]
        except (KeyError, TypeError) as error:
            raise ServedModelError(f"{self.url}/models lists no models") from error

    def complete(self, model: str, messages: Sequence[Message], **options: Any) -> Reply:
        """The model's next message.

        Args:
            model: its name.
            messages: the conversation.
            options: further fields of the request.

        Raises:
            ServedModelError: no usable answer, with all repetitions, before the deadline.
        """
        content, tries = self._ask(
            "chat/completions", {"model": model, "messages": list(messages), **options}
        )
        try:
            choice = content["choices"][0]
            text, cut = _written(choice["message"]["content"]), choice.get("finish_reason") == "length"
        except (KeyError, IndexError, TypeError) as error:
            said = self._safe(repr(content)[:1000])
            raise ServedModelError(f"{self.url} answered without a message: {said:.200}") from error
        usage = content.get("usage")
        prompt, completion = (_count(usage, f"{kind}_tokens") for kind in ("prompt", "completion"))
        if len(self._key) >= REAL_KEY:
            text = text.replace(self._key, "***")
        return Reply(text, prompt, completion, tries, cut)

    def ask(self, path: str, body: Mapping[str, Any] | None) -> Any:
        """The server's answer to a request, any JSON; without a body one that only reads.

        Raises:
            ServedModelError: no usable answer, with all repetitions, before the deadline.
        """
        return self._ask(path, body)[0]

    def _ask(
        self,
        path: str,
        body: Mapping[str, Any] | None,
        busy: Collection[int] = BUSY,
        waiting: Callable[[str], None] | None = None,
    ) -> tuple[Any, int]:
        """The server's answer and the number of tries; a busy server is asked again."""
        end, wait = time.monotonic() + self.deadline, self.backoff
        for tries in range(1, self.retries + 2):
            named, status = None, None
            try:
                return self._once(path, body, end), tries
            except urllib.error.HTTPError as error:
                problem = self._safe(f"status {error.code}: {_text_of(error)}")
                status = error.code
                if status not in busy:
                    raise ServedModelError(f"{self.url}/{path} answered with {problem}", status) from None
                named = _seconds(error.headers.get("Retry-After"))
            except (OSError, HTTPException, ValueError) as error:
                problem = self._safe(f"{type(error).__name__}: {error}")
            pause = wait if named is None else named
            if tries > self.retries or time.monotonic() + pause >= end:
                break
            if waiting is not None and pause >= NOTICED_S:
                left = self.retries + 1 - tries
                waiting(f"no answer yet from {self.url} ({problem}); asking up to {left} times more")
                waiting = None
            time.sleep(pause)
            wait *= 2
        hint = f"; is a server there? {self.setting} has its address" if status is None else ""
        if status == FAULT:
            hint = "; the server's own log says why"
        raise ServedModelError(
            f"{self.url}/{path} gave no answer in {tries} tries, the last time {problem}{hint}", status
        )

    def _once(self, path: str, body: Mapping[str, Any] | None, end: float) -> Any:
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"{self.url}/{path}", data, headers)
        content = b""
        with self._opener.open(request, timeout=max(0.001, end - time.monotonic())) as response:
            while part := response.read1(2**16):
                content += part
                if time.monotonic() > end:  # the time-out is one of each part
                    raise TimeoutError(f"no whole answer within {self.deadline:g} s")
                if len(content) > MAX_BYTES:
                    raise ValueError(f"an answer of more than {MAX_BYTES} bytes")
        try:
            return json.loads(content)
        except RecursionError as error:
            raise ValueError("an answer of nested JSON that is too deep to be read") from error

    def _safe(self, text: str) -> str:
        """A text without the key, on one line; servers may quote what they were sent."""
        return " ".join((text.replace(self._key, "***") if self._key else text).split())[:300]


def _written(content: Any) -> str:
    """The text of a message: it may come in parts, of which those of type "text" were written.

    Raises:
        TypeError: it is no text; the environment must not be given what the model did not write.
    """
    parts = (
        content
        if isinstance(content, list)
        else [{"type": "text", "text": "" if content is None else content}]
    )
    texts: list[Any] = [part["text"] for part in parts if part["type"] == "text"]
    if not all(isinstance(text, str) for text in texts):
        raise TypeError(f"the message is a {type(content).__name__}")
    return as_unicode("".join(texts))


def _count(usage: object, name: str) -> int:
    """A number of tokens, -1 where the server gives none: that is no reason to lose the answer."""
    count = usage.get(name) if isinstance(usage, dict) else None
    return count if isinstance(count, int) and not isinstance(count, bool) else -1


def _text_of(error: urllib.error.HTTPError) -> str:
    try:
        return error.read(2000).decode("utf-8", "replace")
    except (OSError, HTTPException):
        return error.reason


def _seconds(header: str | None) -> float | None:
    """The waiting time that a server names; dates are left aside."""
    return float(header) if header is not None and header.strip().isdecimal() else None
