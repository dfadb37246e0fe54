"""The tagged protocol of Search-QA: parse responses, and write the environment's observations.

The protocol is that of Search-R1: a response thinks inside ``<think>`` and then either searches with
``<search>query</search>`` or answers with ``<answer>answer</answer>``; the passages come back inside
``<information>``. As in Search-R1, the first complete action counts and the text after it is ignored.

Departures from Search-R1:

- A thought inside ``<think>...</think>`` may mention actions without taking them. Search-R1 takes the first
  action, inside a thought or not.
- An action that is empty or contains another tag is invalid. Search-R1 searches for the empty text or tag.
- Texts of others (questions, passages) pass through ``shown`` before the agent sees them, so that they cannot
  imitate tags. Search-R1 shows them unchanged.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from stepopsd_envs.search_qa.retrieval.base import Passage

VERSION = 1  # version of all texts here that an agent sees
MAX_TITLE = 120  # characters
MAX_QUERY = 2_000  # characters; longer queries would only slow the retriever down

Span = tuple[int, int]
Action = Literal["search", "answer"]
ACTIONS: tuple[Action, ...] = get_args(Action)

ANSWERED = "The answer is noted."
LAST_TURN = "No search is left: the next turn has to answer."
OVER = "No search is left, and this turn did not answer."
NOTHING_FOUND = "No passage was found."

_TASK = """\
Answer the question. Think inside <think>...</think> whenever there is something to think about. Then either \
search: <search>query</search> finds passages, which come back inside <information>...</information>; or \
give the final answer, short and without explanation: <answer>answer</answer>. You have {turns} for \
searching and one more to answer.
"""

# The number of blanks is bounded: an unbounded pattern would take quadratic time on a text of blanks.
_TAG = re.compile(r"<(/?)(search|answer|think|information) {0,3}>", re.IGNORECASE)
# Characters that open a tag, here or in the vocabulary of a language model. Some tokenizers apply NFKC, which
# turns the small and the wide form into the plain one.
_OPENS_TAG = "<\ufe64\uff1c"
_SHOWN_INSTEAD = "\u2039"
# Control characters except blanks, lone surrogates, and invisible characters that reorder or hide text.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u180e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A parsed response; spans are character ranges (start, end) within it."""

    kind: Action | Literal["invalid"]
    content: str
    """The text inside the action's tags, without surrounding blanks; empty if invalid."""
    action_span: Span
    """The action with its tags; (0, 0) if invalid."""
    thought_span: Span
    """Text between the think tags, else all before the action, else (0, 0); it never overlaps the action."""
    why: str = ""
    """Reason why the response is invalid, worded to follow a colon; else empty."""


class _Tag(NamedTuple):
    name: str
    closes: bool
    start: int
    end: int


class _Found(NamedTuple):
    """The tags of an action, and whether tags of the other action enclose them."""

    opening: _Tag
    closing: _Tag
    enclosed: bool


def parse(text: str) -> Parsed:
    """Find the action of a response: the first complete one outside ``<think>...</think>``, else inside.

    Accepted are capitals in a tag and blanks at its end, text around the action, a missing thought, a thought
    whose opening tag is in the prompt, a thought that is never closed, and unpaired tags before the action.
    Invalid are a response without a complete action, an action without visible text, and an action that
    contains another tag.
    """
    tags = [_Tag(tag[2].lower(), bool(tag[1]), *tag.span()) for tag in _TAG.finditer(text)]
    actions = [tag for tag in tags if tag.name in ACTIONS]
    outside = _outside_thoughts(tags)
    action = _first_action(outside) or _first_action(actions)
    thought = _thought_span(text, [tag for tag in tags if tag.name == "think"], action)
    if action is None:
        return Parsed("invalid", "", (0, 0), thought, _what_is_missing(outside))
    kind: Action = "search" if action.opening.name == "search" else "answer"
    content = text[action.opening.end : action.closing.start].strip()
    if action.enclosed or _TAG.search(content):
        return Parsed("invalid", "", (0, 0), thought, "there is a tag inside the tags of an action")
    if not query_text(content):
        return Parsed("invalid", "", (0, 0), thought, f"there is nothing inside the {kind} tags")
    return Parsed(kind, content, (action.opening.start, action.closing.end), thought)


def query_text(content: str) -> str:
    """The query for the retriever: one line without hidden characters, truncated to ``MAX_QUERY``."""
    return _visible(content[: 2 * MAX_QUERY])[:MAX_QUERY]


def opening_text(question: str, max_turns: int, given: Sequence[Passage] = (), max_chars: int = 2_400) -> str:
    """The first observation: the rules, the passages given with the question, the question."""
    turns = "one turn" if max_turns == 1 else f"{max_turns} turns"
    known = f"{information(given, max_chars)}\n" if given else ""
    return f"{_TASK.format(turns=turns)}{known}Question: {shown(question)}"


def notice(why: str) -> str:
    """The observation after an invalid action; it has no tags, so it cannot be taken for an action."""
    return f"That was no action: {why}. Put a query inside search tags or the answer inside answer tags."


def information(passages: Sequence[Passage], max_chars: int | None = None) -> str:
    """The passages, numbered and with titles, inside information tags.

    Args:
        passages: in the order in which they are shown.
        max_chars: maximum length of the result, including tags. All passages are truncated at the same
            length, the greatest that fits, so a long passage never displaces another. None: no limit.
    """
    limit = None if max_chars is None else 2 * max_chars
    lines = [_line(number, passage, limit) for number, passage in enumerate(passages, start=1)]
    if max_chars is not None:
        room = max_chars - len("<information></information>") - max(len(lines) - 1, 0)  # the line breaks
        share = _share([len(line) for line in lines], room)
        lines = [cut(line, share) for line in lines]
    return f"<information>{chr(10).join(lines) or NOTHING_FOUND}</information>"


def least_chars(topk: int) -> int:
    """The least ``max_chars`` that leaves room for more than the title of each of ``topk`` passages."""
    return (MAX_TITLE + 80) * topk


def shown(text: str) -> str:
    """``text`` as the agent sees it: one line, without hidden characters and without openings of tags."""
    text = _visible(text)
    for char in _OPENS_TAG:
        text = text.replace(char, _SHOWN_INSTEAD)
    return text


def cut(text: str, length: int) -> str:
    """``text`` truncated to ``length`` characters; a truncated text ends with an ellipsis."""
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "\u2026"


def _visible(text: str) -> str:
    """``text`` in one line, without hidden characters."""
    if text.isprintable() and "  " not in text:  # the common case: nothing hidden, only single plain blanks
        return text.strip()
    return " ".join(_HIDDEN.sub("", text).split())


def _line(number: int, passage: Passage, limit: int | None) -> str:
    title = cut(shown(passage.title[: 2 * MAX_TITLE]), MAX_TITLE)
    return f'Doc {number}(Title: "{title}") {shown(passage.text[:limit])}'


def _share(lengths: Sequence[int], room: int) -> int:
    """The greatest length at which to truncate all, so that together they fit into ``room``."""
    left = len(lengths)
    for length in sorted(lengths):
        if length * left > room:
            return max(room // left, 0)
        room, left = room - length, left - 1
    return max(lengths, default=0)


def _outside_thoughts(tags: Sequence[_Tag]) -> list[_Tag]:
    """The action tags that no pair of think tags encloses.

    A closing think tag without an opening one ends a thought that began in the prompt. A think tag that is
    never closed encloses nothing.
    """
    kept: list[_Tag] = []
    pending: list[_Tag] = []  # action tags since the last think tag
    thinking = True
    for tag in tags:
        if tag.name in ACTIONS:
            pending.append(tag)
        elif tag.name == "think":
            if not (thinking and tag.closes):
                kept += pending
            pending, thinking = [], not tag.closes
    return kept + pending


def _first_action(tags: Sequence[_Tag]) -> _Found | None:
    """The action of the first closing tag that has an opening tag; it begins at the last opening tag."""
    opened: dict[str, _Tag] = {}
    for place, tag in enumerate(tags):
        if not tag.closes:
            opened[tag.name] = tag
        elif tag.name in opened:
            opening = opened.pop(tag.name)
            around = any(other.start < opening.start for other in opened.values())
            following = next((later for later in tags[place:] if later.name != tag.name), None)
            return _Found(opening, tag, around and following is not None and following.closes)
    return None


def _thought_span(text: str, thinks: Sequence[_Tag], action: _Found | None) -> Span:
    end = len(text) if action is None else action.opening.start
    before = [tag for tag in thinks if tag.start < end]
    start = next((tag.end for tag in before if not tag.closes), 0)
    closed = next((tag.start for tag in before if tag.closes and tag.start >= start), None)
    if closed is None and action is None:
        return 0, 0
    return _stripped(text, start, end if closed is None else closed)


def _stripped(text: str, start: int, end: int) -> Span:
    inner = text[start:end]
    start += len(inner) - len(inner.lstrip())
    end -= len(inner) - len(inner.rstrip())
    return (start, end) if start < end else (0, 0)


def _what_is_missing(actions: Sequence[_Tag]) -> str:
    opened = next((tag.name for tag in actions if not tag.closes), None)
    return f"the {opened} tag is not closed" if opened else "there are neither search nor answer tags"
