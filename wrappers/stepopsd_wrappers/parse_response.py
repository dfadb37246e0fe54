"""From a model's response to the command that the environment gets."""

import re
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, cast

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from stepopsd_envs.search_qa import protocol

ResponseFormat = Literal["tags", "plain", "search"]
FORMATS: tuple[ResponseFormat, ...] = ("tags", "plain", "search")
Span = tuple[int, int]

_ACTION_TAG = re.compile(r"</?action>")


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A response taken apart; spans are character ranges within the response."""

    command: str
    """What the environment gets: `response[slice(*action_span)]`, empty when there is no command; with
    "search" the response as it is."""
    valid: bool
    """Whether the response has the asked form and a command in it, be it possible or not."""
    thought_span: Span
    """The text between the think tags, else before the action, which it never overlaps; else (0, 0)."""
    action_span: Span
    """The command without outer blanks, with "search" the action with its tags; (0, 0) when not valid."""


def parse_response(text: str, format: ResponseFormat = "tags") -> ParsedResponse:
    """Return the command in `text` and where thought and action stand.

    With "tags" the command is what a single <action>...</action> encloses; none, several or unbalanced tags
    give no command. With "plain" it is the whole text. Outer blanks are left out of both. With "search" the
    environment reads the tags itself, so it gets the whole text unchanged; the spans are those that it sees.
    """
    check_format(format)
    if format == "search":
        seen = protocol.parse(text)
        return ParsedResponse(text, seen.kind != "invalid", seen.thought_span, seen.action_span)
    inner = (0, len(text)) if format == "plain" else _action_content(text)
    action = (0, 0) if inner is None else _stripped(text, inner)
    valid = action[0] < action[1]
    thought = (0, 0) if format == "plain" else _thought(text)
    return ParsedResponse(text[slice(*action)], valid, thought, action if valid else (0, 0))


def check_format(format: str) -> None:
    """Raise ValueError unless `format` is one of `FORMATS`."""
    if format not in FORMATS:
        raise ValueError(f"format is {format!r}; allowed are {', '.join(map(repr, FORMATS))}")


def _action_content(text: str) -> Span | None:
    tags = list(_ACTION_TAG.finditer(text))
    if [tag.group() for tag in tags] != ["<action>", "</action>"]:
        return None
    return tags[0].end(), tags[1].start()


def _thought(text: str) -> Span:
    """Find the thought; some chat templates open the think tag in the prompt, so a closing tag is enough."""
    opening, closing, action = text.find("<think>"), text.find("</think>"), text.find("<action>")
    opened = opening >= 0 and (closing < 0 or opening < closing)
    start = opening + len("<think>") if opened else 0
    ends = [end for end in (closing, action) if end >= start]
    return _stripped(text, (start, min(ends))) if ends else (0, 0)


def _stripped(text: str, span: Span) -> Span:
    """Narrow `span` so that it neither begins nor ends with blanks."""
    start, end = span
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    return start, max(start, end - (len(inner) - len(inner.rstrip())))


class ParseResponse(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes a model's response as the action and hands its command on to the environment.

    A response without a command becomes the empty command, which the environment answers like any command it
    does not know, so nothing raises. Actions that are not strings go through untouched: the environment marks
    them invalid.
    """

    def __init__(self, env: gym.Env[str, str], format: ResponseFormat = "tags") -> None:
        """Wrap `env`.

        Args:
            env: an environment that takes commands.
            format: "tags", "plain" or "search", see `parse_response`.
        """
        check_format(format)
        RecordConstructorArgs.__init__(self, format=format)
        gym.Wrapper.__init__(self, env)
        self.format: ResponseFormat = format

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step with the command in the response `action`."""
        return self.env.step(self.command(action))

    def command(self, response: str) -> str:
        """Return the command in `response`; anything but a string is returned as it is."""
        if not isinstance(cast("object", response), str):
            return response
        return parse_response(response, self.format).command
