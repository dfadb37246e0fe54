"""An expert for Search-QA: it knows the hops of a question, but uses only passages that it has been shown.

The hops of a question say which query leads to which passage. The expert does the hops in order: a query
comes from the passages of earlier hops, so these must have been shown first. It answers once all have been.

For a question without hops it searches for the question itself. It answers once the gold passages have been
shown; if these are unknown too, once a golden answer occurs in the texts that it has read.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from stepopsd_envs.search_qa.protocol import parse
from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.scoring import normalize_answer

_WORD = r"[^\W\d_a-z][\w'\u2019-]*"  # begins with a capital letter
_NAME = re.compile(rf"\b{_WORD}(?: (?:of |the |and )*{_WORD})*|\b\d{{3,4}}\b")
_SENTENCE = re.compile(r"(?:^|[.!?:)\"]\s)$")  # matches before the first word of a sentence
_INFORMATION = re.compile(r"<information>(.*?)</information>", re.DOTALL)
_NUMBER = re.compile(r"Doc \d+\(Title: ")
_PASSAGE = re.compile(r'^"(.*?)"\) (.*)$', re.MULTILINE)  # title and text, after removing _NUMBER
_STOP = re.compile(r"(?<=[.!?]) ")  # between two sentences


@dataclass
class Knowledge:
    """The expert's knowledge in one episode."""

    question: Question
    searches_left: int
    shown: set[str] = field(default_factory=set)  # ids of the passages shown
    read: list[str] = field(default_factory=list)  # their texts as shown
    asked: list[str] = field(default_factory=list)  # queries, in order


def search(query: str) -> str:
    """The action that searches."""
    return f"<search>{query}</search>"


def answer(text: str) -> str:
    """The action that answers."""
    return f"<answer>{text}</answer>"


def names_in(text: str) -> list[str]:
    """Names and years in the order of their first mention in a text, each once.

    A single word that begins a sentence is left out: it is seldom a name.
    """
    matches = (match for match in _NAME.finditer(text) if not _begins_sentence(match))
    return list(dict.fromkeys(match[0] for match in matches))


def passages_in(observation: str) -> str:
    """The passages in an observation, without their numbers."""
    return _NUMBER.sub("", "\n".join(_INFORMATION.findall(observation)))


def _begins_sentence(match: re.Match[str]) -> bool:
    before = match.string[max(0, match.start() - 2) : match.start()]
    return match[0].isalpha() and _SENTENCE.search(before) is not None


def knows(known: Knowledge) -> bool:
    """Whether the passages shown so far answer the question."""
    question = known.question
    needed = [hop.passage for hop in question.hops] or list(question.supporting)
    if needed:
        return known.shown.issuperset(needed)
    text = f" {normalize_answer(' '.join(known.read))} "
    return any(f" {normalize_answer(golden)} " in text for golden in question.golden_answers)


def decide(known: Knowledge) -> str:
    """Choose the next action."""
    if knows(known):
        return answer(known.question.golden_answers[0])
    if known.searches_left <= 0:
        return answer(_guesses(known)[0])
    return search(_query(known))


def ponder(known: Knowledge, action: str) -> str:
    """The sentence shown that contains the action's query or answer, as its reason; "" if there is none.

    A passage whose title occurs in the question or in a query goes before others, a later passage before an
    earlier one.
    """
    needle = normalize_answer(parse(action).content)
    asked = normalize_answer(" ".join([known.question.question, *known.asked]))
    sentences = [
        (normalize_answer(title) in asked, sentence)
        for text in reversed(known.read)
        for title, sentence in _sentences(text)
        if needle and f" {needle} " in f" {normalize_answer(sentence)} "
    ]
    return max(sentences, key=lambda pair: pair[0])[1] if sentences else ""


def _sentences(passages: str) -> list[tuple[str, str]]:
    """The sentences of passages, each with the title of its passage."""
    lines = [match.groups() for match in _PASSAGE.finditer(passages)]
    return [(title, sentence) for title, body in lines for sentence in _STOP.split(body)]


def _query(known: Knowledge) -> str:
    """The query of the first unfinished hop; if it was asked in vain, the question, then a name in it."""
    question = known.question
    hop = next((hop for hop in question.hops if hop.passage not in known.shown), None)
    names = names_in(question.question)
    options = [*([hop.query] if hop else []), question.question, *names]
    return next((query for query in options if query not in known.asked), options[0])


def _guesses(known: Knowledge) -> list[str]:
    """Wrong answers: names in the passages, else names in the question, else "unknown"."""
    golden = {normalize_answer(text) for text in known.question.golden_answers}
    for texts in (known.read, [known.question.question]):
        named = [name for name in _names(texts) if normalize_answer(name) not in golden]
        if named:
            return named
    return ["unknown"]


def _names(texts: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(name for text in texts for name in names_in(text)))


def mistakes(known: Knowledge) -> list[list[str]]:
    """List plausible actions that do not help, by kind.

    Searches: for another name, for half a name, for the last query again. Answers: another name.
    """
    right = _query(known)
    named = _names([known.question.question, *known.read])
    halves = [word for word in right.split() if word != word.lower()]
    useless = dict.fromkeys([*known.asked[-1:], *named, *halves])
    return [[search(query) for query in useless], [answer(text) for text in _guesses(known)]]


class SearchExpert:
    """Answers one question; each action is a mistake with probability ``mistake_rate``."""

    def __init__(self, rng: np.random.Generator, mistake_rate: float = 0.0) -> None:
        if not 0.0 <= mistake_rate <= 1.0:
            raise ValueError(f"mistake_rate is {mistake_rate}; give a probability, from 0 to 1")
        self._rng = rng
        self._mistake_rate = mistake_rate
        self._known: Knowledge | None = None
        self._action = ""  # the last one given

    def reset(self, question: Question, searches: int, observation: str) -> None:
        """Forget the last question and read the opening text.

        Args:
            question: the question with its hops and golden answers.
            searches: number of searches before the closing turn.
            observation: the opening text, with the passages given with the question.
        """
        self._known = Knowledge(question, searches)
        if question.given:
            self._known.shown.update(question.given)
            self._known.read.append(passages_in(observation))

    def act(self) -> str:
        """Return the next action."""
        self._action = self._choose(self._knowledge())
        return self._action

    def _choose(self, known: Knowledge) -> str:
        action = decide(known)
        if self._mistake_rate and self._rng.random() < self._mistake_rate:
            kinds = [[other for other in kind if other != action] for kind in mistakes(known)]
            kinds = [kind for kind in kinds if kind]
            kind = kinds[int(self._rng.integers(len(kinds)))]
            return kind[int(self._rng.integers(len(kind)))]
        return action

    def thought(self) -> str:
        """Return the reason for the last action: a sentence that was shown; "" if there is none."""
        return ponder(self._knowledge(), self._action)

    def see(self, query: str, observation: str, retrieved: Sequence[str]) -> None:
        """Read the result of a search for ``query``: the observation, and the ids of its passages."""
        known = self._knowledge()
        known.searches_left -= 1
        known.asked.append(query)
        known.shown.update(retrieved)
        known.read.append(passages_in(observation))

    def _knowledge(self) -> Knowledge:
        if self._known is None:
            raise RuntimeError("the expert has no question yet; call reset first")
        return self._known
