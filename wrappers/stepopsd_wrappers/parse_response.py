"""Parse the response of a language model into the command for the environment: the innermost wrapper.

`find_wrapper` finds it, or any other one, in a stack.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, SupportsFloat, TypeVar, cast

import gymnasium as gym
from gymnasium.utils import RecordConstructorArgs

from stepopsd_envs.search_qa import protocol
from stepopsd_envs.text_env import TextEnv
from stepopsd_wrappers.order import require_order

ResponseFormat = Literal["tags", "plain", "search"]
FORMATS: tuple[ResponseFormat, ...] = ("tags", "plain", "search")
Span = tuple[int, int]

_ACTION_TAG = re.compile(r"</?action>")


@dataclass(frozen=True, slots=True)
class ParsedResponse:
    """A parsed response; spans are character ranges (start, end) within the response."""

    command: str
    """The action for the environment: `response[slice(*action_span)]`, empty when there is no command;
    with "search" the whole response."""
    valid: bool
    """Whether the response has the requested format and contains a command, admissible or not."""
    thought_span: Span
    """Text between the think tags, else before the action, else (0, 0); it never overlaps the action."""
    action_span: Span
    """The command without surrounding blanks; with "search" the action and its tags; (0, 0) if not valid."""


def parse_response(text: str, format: ResponseFormat = "tags") -> ParsedResponse:
    """Return the command in `text` and the spans of thought and action.

    "tags": the command is the text inside exactly one <action>...</action>; without tags, with several or
    with unbalanced tags there is no command. "plain": the command is the whole text. Both drop surrounding
    blanks. "search": the environment itself parses the tags, so the command is the whole text unchanged, and
    the spans are those that the environment finds.

    Raises:
        ValueError: `format` is not one of `FORMATS`.
    """
    check_format(format)
    if format == "search":
        parsed = protocol.parse(text)
        return ParsedResponse(text, parsed.kind != "invalid", parsed.thought_span, parsed.action_span)
    inner = (0, len(text)) if format == "plain" else _action_content(text)
    action = (0, 0) if inner is None else _stripped(text, inner)
    valid = action[0] < action[1]
    thought = (0, 0) if format == "plain" else _thought(text)
    if inner is not None and thought[0] < inner[1] and inner[0] < thought[1]:
        thought = (0, 0)  # think tags inside the action are part of the command
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
    """Return the span of the thought; the closing tag is enough: chat templates may open it in the prompt."""
    opening, closing, action = text.find("<think>"), text.find("</think>"), text.find("<action>")
    opened = opening >= 0 and (closing < 0 or opening < closing)
    start = opening + len("<think>") if opened else 0
    ends = [end for end in (closing, action) if end >= start]
    return _stripped(text, (start, min(ends))) if ends else (0, 0)


def _stripped(text: str, span: Span) -> Span:
    """Return `span` without the blanks at its start and end."""
    start, end = span
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    return start, max(start, end - (len(inner) - len(inner.rstrip())))


class ParseResponse(gym.Wrapper[str, str, str, str], RecordConstructorArgs):
    """Takes a model's response as the action and passes the command in it to the environment.

    No response raises. A response without a command becomes the empty command, which the environment answers
    like any unknown command. An action that is not a string is passed on unchanged; the environment marks the
    step invalid.
    """

    def __init__(self, env: gym.Env[str, str], format: ResponseFormat = "tags") -> None:
        """Wrap `env`.

        Args:
            env: a text environment.
            format: "tags", "plain" or "search", see `parse_response`.

        Raises:
            ValueError: `format` is not one of `FORMATS`, or `env` has a wrapper that belongs outside.
        """
        check_format(format)
        require_order(env, "ParseResponse")
        RecordConstructorArgs.__init__(self, format=format)
        gym.Wrapper.__init__(self, env)
        self.format: ResponseFormat = format

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Step with the command in the response `action`."""
        return self.env.step(self.command(action))

    def command(self, response: str) -> str:
        """Return the command in `response`; a value that is not a string is returned unchanged."""
        if not isinstance(cast("object", response), str):
            return response
        return parse_response(response, self.format).command


WrapperType = TypeVar("WrapperType", bound=gym.Wrapper[Any, Any, Any, Any])


def find_wrapper(env: gym.Env[Any, Any], kind: type[WrapperType]) -> WrapperType | None:
    """Return the outermost wrapper of type `kind` in the stack `env`, or None."""
    while isinstance(env, gym.Wrapper):
        if isinstance(env, kind):
            return env
        env = env.env
    return None


def command_in(env: gym.Env[str, str], response: str) -> str:
    """Return what the environment inside the stack `env` gets of a response."""
    parser = find_wrapper(env, ParseResponse)
    return response if parser is None else parser.command(response)


def require_text(observation: object, env: gym.Env[Any, Any], wrapper: str) -> None:
    """Refuse observations that another wrapper has turned into something else.

    Raises:
        TypeError: `observation` is not a string.
    """
    if not isinstance(observation, str):
        raise TypeError(
            f"{wrapper} takes texts, but got an observation of type {type(observation).__name__} from {env}: "
            "put wrappers that change observations around make_text_env(...), not inside"
        )


def prepare_steps(turns: Iterable[tuple[gym.Env[str, str], str]]) -> None:
    """Announce the responses that stacks are about to be stepped with to their environments.

    No step depends on it; an environment that is no `TextEnv` is left alone. See `TextEnv.prepare`.
    """
    kinds: dict[type[TextEnv], list[tuple[TextEnv, str]]] = {}
    for stack, response in turns:
        env = stack.unwrapped
        if isinstance(env, TextEnv):
            kinds.setdefault(type(env), []).append((env, command_in(stack, response)))
    for kind, steps in kinds.items():
        if len(steps) > 1:
            kind.prepare(steps)
