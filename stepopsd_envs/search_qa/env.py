"""``stepopsd/SearchQA-v0``: questions answered by thinking, searching, reading and searching again."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, dataclass, field, fields
from typing import Any, ClassVar, Literal

from gymnasium.error import ResetNeeded

from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.oracle import SearchOracle
from stepopsd_envs.search_qa.questions import Question, QuestionsNotFoundError
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.scoring import exact_match, f1
from stepopsd_envs.search_qa.sources import SYNTHETIC, Lease, given_passages, lend_library, load_questions
from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import Outcome, TextEnv

REWARDS = ("em", "f1")
SPLITS = ("train", "test")
UNKNOWN = -1.0  # gold_seen where no gold passages are known


class SearchQAEnv(TextEnv):
    """Answer a question with the help of a search engine, in the tagged protocol of Search-R1.

    An action is a response with ``<search>query</search>`` or ``<answer>answer</answer>`` in it, see
    ``protocol.parse``. There are ``max_turns`` turns to search in; an invalid action uses one up, too.
    Then comes one closing turn in which only an answer counts: whatever else it brings is invalid and leaves
    the episode truncated. An answer terminates the episode at any turn.

    Args:
        questions: ``"synthetic"``, a JSONL file, one of the seven test sets (``nq``, ``triviaqa``, ``popqa``,
            ``hotpotqa``, ``2wikimultihopqa``, ``musique``, ``bamboogle``), or ``owner/name`` of a data set of
            the Hugging Face Hub with the columns of ``PeterJinGo/nq_hotpotqa_train``.
        retriever: ``"bm25"``, ``"lucene"``, ``"dense"``, ``"hybrid"``, ``"http://host:port"``, or a
            ``Retriever``, which stays the caller's to close.
        corpus: what is searched: a JSONL file of passages, or a folder made by ``stepopsd index``. None is
            the synthetic world of the questions, or whatever a server searches.
        tier: size of the synthetic world: ``"tiny"``, ``"small"`` or ``"full"``. Other questions have none.
        split: ``"train"`` or ``"test"``: disjoint synthetic worlds, or the split of a data set of the Hub. A
            file has no such split.
        task_types: ask only questions of these types; None asks all.
        num_questions: ask only the first so many in canonical order, after ``task_types``; None asks all.
        topk: how many passages a search brings at most.
        max_turns: how many turns there are before the closing one.
        reward: ``"em"``, exact match, or ``"f1"``; paid with the answer, every other step has 0.0.
        max_information: characters of what a search brings at most, tags included. Passages too long for it
            are cut at one common length; a tag never is.
        render_mode: None, ``"ansi"`` or ``"human"``.

    ``reset(options={"question": id})`` asks that question; without it one is drawn with ``np_random``. A
    retriever that fails raises ``RetrieverError`` out of ``step``, which leaves the episode as it was.
    """

    task_option: ClassVar[str] = "question"

    def __init__(
        self,
        questions: str | os.PathLike[str] = SYNTHETIC,
        retriever: str | Retriever = "bm25",
        corpus: str | os.PathLike[str] | None = None,
        tier: Literal["tiny", "small", "full"] = "small",
        split: Literal["train", "test"] = "train",
        task_types: Sequence[str] | None = None,
        num_questions: int | None = None,
        topk: int = 3,
        max_turns: int = 4,
        reward: Literal["em", "f1"] = "em",
        max_information: int = 2_400,
        render_mode: str | None = None,
    ) -> None:
        _require_positive(max_turns=max_turns, topk=topk)
        if num_questions is not None:
            _require_positive(num_questions=num_questions)
        least = protocol.least_chars(topk)
        if type(max_information) is not int or max_information < least:
            raise ValueError(f"max_information={max_information!r}: {topk} passages need {least} or more")
        _require_one_of("reward", reward, REWARDS)
        _require_one_of("split", split, SPLITS)
        super().__init__(step_limit=max_turns + 1, render_mode=render_mode)
        self.max_turns, self.topk = max_turns, topk
        self._reward, self._max_information = reward, max_information
        self._names = os.fspath(questions), tier, split  # of the questions
        self._known = load_questions(*self._names)
        types = (task_types,) if isinstance(task_types, str) else task_types
        self._played = self._known.select(types, num_questions)
        self._spec, self._corpus = retriever, None if corpus is None else os.fspath(corpus)
        self._lease: Lease | None = None
        self._question: Question | None = None
        self._goal = ""  # the question as it is shown
        self._episode = _Episode()
        _ = self.engine_version  # what cannot be opened is told now, not in the first search

    @property
    def task_ids(self) -> tuple[str, ...]:
        """The questions that ``reset`` draws from, in canonical order."""
        return self._played.task_ids

    @property
    def fingerprint(self) -> str:
        """Hash of the questions that ``reset`` draws from: their ids and contents."""
        return self._played.fingerprint

    @property
    def engine_version(self) -> str:
        """The protocol's version and the retriever's fingerprint: part of every record."""
        searched = self._spec if not isinstance(self._spec, str) else self._opened().library
        return f"search_qa {protocol.VERSION}, {searched.fingerprint}"

    @property
    def question(self) -> Question:
        """What is asked, with all that is known about it: for oracles and experts."""
        if self._question is None:
            raise ResetNeeded("there is no question: call reset() first")
        return self._question

    def golden_answers(self, task_id: str) -> tuple[str, ...]:
        """The answers that count as right: for credit methods that score them (IGPO)."""
        return self._find(task_id).golden_answers

    @property
    def oracle(self) -> SearchOracle:
        """Optimal play from the present state: ``plan()`` and ``distance()``."""
        return SearchOracle(self.question, self._episode.seen, self._episode.queries, self._remaining - 1)

    def close(self) -> None:
        """Give back the retriever, unless it is the caller's. A later call opens it again."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        """A copy elsewhere opens a retriever of its own."""
        return {**self.__dict__, "_lease": None}

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        if "question" in options:
            name = options["question"]
        else:
            name = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
        question = self._find(name)
        given = given_passages(*self._names, question.given)
        self._ask(question, _Episode())
        self._episode.show(given, question)
        return question.id, protocol.opening_text(
            question.question, self.max_turns, given, self._max_information
        )

    def _act(self, action: str) -> Outcome:
        parsed = protocol.parse(action)
        if parsed.kind == "search" and self._remaining > 1:
            text = self._search(protocol.query_text(parsed.content))
            return Outcome(self._with_notice(text), "search", 0.0, False)
        self._episode.show((), self.question)
        if parsed.kind == "answer":
            return self._answer(parsed.content)
        text = protocol.OVER if self._remaining == 1 else protocol.notice(parsed.why)
        return Outcome(self._with_notice(text), "invalid", 0.0, False)

    def _search(self, query: str) -> str:
        found = self._searcher().search([query], self.topk)[0][: self.topk]
        self._episode.queries.append(query)  # after the search: if that fails, the episode is as it was
        self._episode.show(found, self.question)
        return protocol.information(found, self._max_information)

    def _answer(self, text: str) -> Outcome:
        episode, golden = self._episode, self.question.golden_answers
        episode.answer, episode.em, episode.f1 = text, exact_match(text, golden), f1(text, golden)
        reward = episode.em if self._reward == "em" else episode.f1
        return Outcome(protocol.ANSWERED, "answer", reward, True)

    def _with_notice(self, text: str) -> str:
        """The observation, and behind it a word of warning if the closing turn comes next."""
        return f"{text}\n{protocol.LAST_TURN}" if self._remaining == 2 else text

    def _facts(self) -> dict[str, Any]:
        question, episode = self.question, self._episode
        return {
            "won": episode.em == 1.0,
            "task_type": question.task_type,
            "task_id": question.id,
            "goal": self._goal,
            "retrieved": episode.retrieved.copy(),
            "new_gold": episode.new_gold.copy(),
            "gold_seen": episode.gold_seen(question),
            "em": episode.em,
            "f1": episode.f1,
            "search_count": len(episode.queries),
        }

    def _state_hash(self) -> str:
        return text_hash(repr((self.question.id, sorted(self._episode.seen), self._episode.answer)))

    def _save(self) -> Any:
        return {"question": self.question.id, "content": self.question.digest, **asdict(self._episode)}

    def _load(self, task_id: str, state: Any) -> None:
        question = self._find(state["question"])
        if question.digest != state["content"]:
            raise ValueError(
                f"the snapshot is of another version of question {task_id}; use the data it was taken with"
            )
        kept = {field.name: copy(state[field.name]) for field in fields(_Episode)}
        self._ask(question, _Episode(**kept))

    def _ask(self, question: Question, episode: "_Episode") -> None:
        self._question, self._episode = question, episode
        self._goal = protocol.shown(question.question)

    def _find(self, name: Any) -> Question:
        question = self._known.find(name) if isinstance(name, str) else None
        if question is None:
            raise QuestionsNotFoundError(
                f"question {name!r:.80} is not among the {len(self._known)} of {self._names[0]!r}; "
                f"give one of env.unwrapped.task_ids, such as {self.task_ids[0]!r}"
            )
        return question

    def _searcher(self) -> Retriever:
        """What is searched for the question."""
        return self._opened().library.of(self.question.id) if isinstance(self._spec, str) else self._spec

    def _opened(self) -> Lease:
        if self._lease is None:
            assert isinstance(self._spec, str)  # a retriever of the caller's is not lent
            self._lease = lend_library(self._spec, self._corpus, *self._names)
        return self._lease


@dataclass
class _Episode:
    """What happened since the reset: plain values only, for snapshots."""

    seen: list[str] = field(default_factory=list)  # ids of all passages shown, in order
    queries: list[str] = field(default_factory=list)
    retrieved: list[str] = field(default_factory=list)  # ids of the passages in the last observation
    new_gold: list[str] = field(default_factory=list)  # of them, the gold ones that had not been shown before
    answer: str | None = None
    em: float = 0.0
    f1: float = 0.0

    def show(self, passages: Sequence[Passage], question: Question) -> None:
        """Note what the observation shows."""
        self.retrieved = [passage.id for passage in passages]
        new = [name for name in dict.fromkeys(self.retrieved) if name not in self.seen]
        self.new_gold = [name for name in new if name in question.supporting]
        self.seen += new

    def gold_seen(self, question: Question) -> float:
        """Share of the gold passages shown so far."""
        gold = set(question.supporting)
        return len(gold.intersection(self.seen)) / len(gold) if gold else UNKNOWN


def _require_positive(**counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"{name}={count!r}: give a positive number")


def _require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")
