"""The tagged texts of Search-QA: what a response asks for, and what the environment writes back.

The protocol is that of Search-R1: a response thinks inside ``<think>`` and then either searches with
``<search>query</search>`` or answers with ``<answer>answer</answer>``; the passages found come back inside
``<information>``. As there, the first complete action decides and what follows it is ignored.

Departures: a thought inside ``<think>...</think>`` may speak of actions without taking them (Search-R1 takes
the first action wherever it stands); an action with nothing in it, or with another tag in it, is invalid
(Search-R1 searches for the nothing or for the tag); and texts that are not the agent's are made harmless by
``shown`` before the agent sees them (Search-R1 shows them as they are).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from stepopsd_envs.search_qa.retrieval.base import Passage

VERSION = 1  # of everything here that an agent sees
MAX_TITLE = 120  # characters
MAX_QUERY = 2_000  # characters; more would only weigh on the retriever

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

# Bounded blanks: a pattern that could take any number of them would be quadratic on a text of blanks.
_TAG = re.compile(r"<(/?)(search|answer|think|information) {0,3}>", re.IGNORECASE)
# What opens a tag, here or in the vocabulary of a language model. In NFKC, which some tokenizers apply, the
# small and the wide form are the same.
_OPENS_TAG = "<\ufe64\uff1c"
_SHOWN_INSTEAD = "\u2039"
# Control characters but blanks, lone surrogates, and what reorders or hides text but stands for nothing.
_HIDDEN = re.compile(
    "[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u061c\u200b\u200e\u200f\u202a-\u202e\u180e\u2060-\u206f\ufeff"
    "\ufff9-\ufffb\ud800-\udfff\U000e0000-\U000e007f]"
)


@dataclass(frozen=True, slots=True)
class Parsed:
    """A response taken apart; spans are character ranges within it."""

    kind: Action | Literal["invalid"]
    content: str
    """What stands inside the action's tags, without outer blanks; empty when invalid."""
    action_span: Span
    """The action with its tags; (0, 0) when invalid."""
    thought_span: Span
    """The text between the think tags, else all before the action, which it never overlaps; else (0, 0)."""
    why: str = ""
    """What makes it invalid, in words that fit after a colon; empty otherwise."""


class _Tag(NamedTuple):
    name: str
    closes: bool
    start: int
    end: int


class _Found(NamedTuple):
    """The tags around an action, and whether those of the other action stand around them."""

    opening: _Tag
    closing: _Tag
    enclosed: bool


def parse(text: str) -> Parsed:
    """Find the action of a response: the first complete one outside ``<think>...</think>``, else inside.

    Accepted: capitals and blanks at the end of a tag, text around the action, a missing thought, one whose
    opening tag stood in the prompt, one that was never closed, and tags that are merely mentioned before the
    action. Invalid: no complete action, one with nothing visible in it, one with another tag in it.
    """
    tags = [_Tag(tag[2].lower(), bool(tag[1]), *tag.span()) for tag in _TAG.finditer(text)]
    actions = [tag for tag in tags if tag.name in ACTIONS]
    outside = _outside_thoughts(tags)
    found = _first_action(outside) or _first_action(actions)
    thought = _thought_span(text, [tag for tag in tags if tag.name == "think"], found)
    if found is None:
        return Parsed("invalid", "", (0, 0), thought, _what_is_missing(outside))
    kind: Action = "search" if found.opening.name == "search" else "answer"
    content = text[found.opening.end : found.closing.start].strip()
    if found.enclosed or _TAG.search(content):
        return Parsed("invalid", "", (0, 0), thought, "there is a tag inside the tags of an action")
    if not query_text(content):
        return Parsed("invalid", "", (0, 0), thought, f"there is nothing inside the {kind} tags")
    return Parsed(kind, content, (found.opening.start, found.closing.end), thought)


def query_text(content: str) -> str:
    """What the retriever is asked: one line without hidden characters, cut at ``MAX_QUERY``."""
    return _visible(content[: 2 * MAX_QUERY])[:MAX_QUERY]


def opening_text(question: str, max_turns: int, given: Sequence[Passage] = (), max_chars: int = 2_400) -> str:
    """The first observation: the rules, the passages that come with the question, the question."""
    turns = "one turn" if max_turns == 1 else f"{max_turns} turns"
    known = f"{information(given, max_chars)}\n" if given else ""
    return f"{_TASK.format(turns=turns)}{known}Question: {shown(question)}"


def notice(why: str) -> str:
    """The answer to an invalid action. It has no tags, so nothing in it can be taken for an action."""
    return f"That was no action: {why}. Put a query inside search tags or the answer inside answer tags."


def information(passages: Sequence[Passage], max_chars: int | None = None) -> str:
    """The passages, numbered and with titles, inside information tags.

    Args:
        passages: in the order in which they are shown.
        max_chars: length of the whole at most, tags included. Every passage is cut at one length, the
            greatest that fits, so a long one never pushes out another; None cuts none.
    """
    limit = None if max_chars is None else 2 * max_chars
    lines = [_line(number, passage, limit) for number, passage in enumerate(passages, start=1)]
    if max_chars is not None:
        room = max_chars - len("<information></information>") - max(len(lines) - 1, 0)  # the line breaks
        share = _share([len(line) for line in lines], room)
        lines = [cut(line, share) for line in lines]
    return f"<information>{chr(10).join(lines) or NOTHING_FOUND}</information>"


def least_chars(topk: int) -> int:
    """The least ``max_chars`` with which each of ``topk`` passages has room for more than its title."""
    return (MAX_TITLE + 80) * topk


def shown(text: str) -> str:
    """``text`` as an agent is shown it: one line, no hidden characters, nothing that opens a tag."""
    text = _visible(text)
    for sign in _OPENS_TAG:
        text = text.replace(sign, _SHOWN_INSTEAD)
    return text


def cut(text: str, length: int) -> str:
    """At most ``length`` characters of ``text``, the last of them an ellipsis if something is missing."""
    return text if len(text) <= length else text[: max(length - 1, 0)].rstrip() + "\u2026"


def _visible(text: str) -> str:
    """In one line, without hidden characters."""
    if text.isprintable() and "  " not in text:  # as most are: nothing hidden, no blank but the plain one
        return text.strip()
    return " ".join(_HIDDEN.sub("", text).split())


def _line(number: int, passage: Passage, limit: int | None) -> str:
    title = cut(shown(passage.title[: 2 * MAX_TITLE]), MAX_TITLE)
    return f'Doc {number}(Title: "{title}") {shown(passage.text[:limit])}'


def _share(lengths: Sequence[int], room: int) -> int:
    """The greatest length to cut at with which all fit into ``room`` together."""
    left = len(lengths)
    for length in sorted(lengths):
        if length * left > room:
            return max(room // left, 0)
        room, left = room - length, left - 1
    return max(lengths, default=0)


def _outside_thoughts(tags: Sequence[_Tag]) -> list[_Tag]:
    """The tags of actions that no pair of think tags encloses.

    A closing think tag before any opening one closes a thought that the prompt opened; one that is never
    closed encloses nothing.
    """
    kept: list[_Tag] = []
    pending: list[_Tag] = []  # since the last think tag
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
    """The action of the first closing tag that something opened; it begins with the last tag that did."""
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


def _thought_span(text: str, thinks: Sequence[_Tag], found: _Found | None) -> Span:
    end = len(text) if found is None else found.opening.start
    before = [tag for tag in thinks if tag.start < end]
    start = next((tag.end for tag in before if not tag.closes), 0)
    closed = next((tag.start for tag in before if tag.closes and tag.start >= start), None)
    if closed is None and found is None:
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
