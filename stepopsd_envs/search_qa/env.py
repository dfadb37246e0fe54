"""``stepopsd/SearchQA-v0``: answer questions in several turns with a search engine."""

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import asdict, fields
from typing import Any, ClassVar, Literal, Self

from gymnasium.error import ResetNeeded

from stepopsd_envs.argument_types import texts_of
from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.episode_state import EpisodeState
from stepopsd_envs.search_qa.oracle import SearchOracle
from stepopsd_envs.search_qa.questions import QUESTION, Question, QuestionsNotFoundError
from stepopsd_envs.search_qa.retrieval.base import Passage, Retriever
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.terms import why_unmatched
from stepopsd_envs.search_qa.scoring import exact_match, f1
from stepopsd_envs.search_qa.sources import (
    SYNTHETIC,
    Lease,
    given_passages,
    lend_library,
    load_questions,
    require_sources,
)
from stepopsd_envs.search_qa.together import search_together
from stepopsd_envs.step_info import text_hash
from stepopsd_envs.text_env import Outcome, TextEnv
from stepopsd_envs.user_path import user_path

REWARDS = ("em", "f1")
SPLITS = ("train", "test")


class SearchQAEnv(TextEnv):
    """Answer a question with the help of a search engine, in the tagged protocol of Search-R1.

    An action is a response that contains ``<search>query</search>`` or ``<answer>answer</answer>``, see
    ``protocol.parse``. There are ``max_turns`` turns for searching; an invalid action uses up a turn as well.
    Then comes one closing turn, in which only an answer is valid: any other action is invalid and leaves the
    episode truncated. An answer terminates the episode at any turn.

    Args:
        questions: ``"synthetic"``, a JSONL file, one of the seven test sets (``nq``, ``triviaqa``, ``popqa``,
            ``hotpotqa``, ``2wikimultihopqa``, ``musique``, ``bamboogle``), or ``owner/name`` of a data set of
            the Hugging Face Hub with the columns of ``PeterJinGo/nq_hotpotqa_train``.
        retriever: ``"bm25"``, ``"lucene"``, ``"dense"``, ``"hybrid"``, ``"http://host:port"``, or a
            ``Retriever``, which the environment does not close.
        corpus: the passages to search: a JSONL file, or a folder made by ``stepopsd index``. None: the
            synthetic world of the question, or the corpus of the server.
        tier: size of the synthetic worlds: ``"tiny"``, ``"small"`` or ``"full"``. Ignored for others.
        split: ``"train"`` or ``"test"``: disjoint synthetic worlds, or the split of a data set of the Hub.
            Ignored for a file.
        task_types: ask only questions of these types; None asks all.
        num_questions: ask only the first ``num_questions`` in canonical order, after ``task_types``; None
            asks all.
        topk: maximum number of passages per search.
        max_turns: number of turns before the closing turn.
        reward: ``"em"`` (exact match) or ``"f1"``, given at the answer; every other step has reward 0.0.
        max_information: maximum number of characters in the result of a search, including tags. If it is
            exceeded, passages are truncated at a common length; tags never are.
        render_mode: None, ``"ansi"``, ``"human"`` or ``"rgb_array"``.

    ``reset(options={"question": id})`` asks this question; without it a question is drawn from ``np_random``.
    If the retriever fails, ``step`` raises ``RetrieverError`` and leaves the episode unchanged.

    Raises:
        ValueError: an argument has a value that is not allowed, or the corpus or index cannot be used.
        QuestionsNotFoundError: there are no such questions.
        RetrieverError: the server of the retriever does not start or answer.
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
        require_sources(questions, retriever, corpus)
        super().__init__(step_limit=max_turns + 1, render_mode=render_mode)
        self.max_turns, self.topk = max_turns, topk
        self._reward, self._max_information = reward, max_information
        self._names = os.fspath(questions), tier, split  # what identifies the set of questions
        self._known = load_questions(*self._names)
        self._played = self._known.select(texts_of("task_types", task_types, QUESTION), num_questions)
        self._spec, self._corpus = retriever, None if corpus is None else os.fspath(corpus)
        self._lease: Lease | None = None
        self._question: Question | None = None
        self._goal = ""  # the question as shown to the agent
        self._episode = EpisodeState()
        self._prepared: tuple[str, list[Passage]] | None = None  # the query of the next step, and its result
        _ = self.engine_version  # opens the retriever, so that errors are raised now, not at the first search
        if isinstance(retriever, str) and corpus is not None:  # copies open it again, maybe from elsewhere
            self._corpus = str(user_path(corpus).absolute())

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
        """Version of the protocol and fingerprint of the retriever; part of every record."""
        searched = self._spec if not isinstance(self._spec, str) else self._opened().library
        return f"search_qa {protocol.VERSION}, {searched.fingerprint}"

    @property
    def question(self) -> Question:
        """The current question with answers, gold passages and hops, for oracles and experts.

        Raises:
            ResetNeeded: there was no reset yet.
        """
        if self._question is None:
            raise ResetNeeded("question before the first reset(): call reset() to begin an episode")
        return self._question

    def golden_answers(self, task_id: str) -> tuple[str, ...]:
        """The correct answers to a question, for credit methods that score them (IGPO).

        Raises:
            QuestionsNotFoundError: there is no such question.
        """
        return self._find(task_id).golden_answers

    @property
    def oracle(self) -> SearchOracle:
        """Optimal play from the current state: ``plan()`` and ``distance()``."""
        return SearchOracle(self.question, self._episode.seen, self._episode.queries, self._remaining - 1)

    def close(self) -> None:
        """Close the environment and release the retriever, unless the caller passed it."""
        lease, self._lease = self._lease, None
        if lease is not None:
            lease.close()
        super().close()

    def __getstate__(self) -> dict[str, Any]:
        """The state without the retriever, since a copy opens its own."""
        return {**self.__dict__, "_lease": None, "_prepared": None}

    def _begin(self, options: Mapping[str, Any]) -> tuple[str, str]:
        if "question" in options:
            name = self._task_named(options)
        else:
            name = self.task_ids[int(self.np_random.integers(len(self.task_ids)))]
        question = self._find(name)
        given = given_passages(*self._names, question.given)
        self._ask(question, EpisodeState())
        self._episode.show(given, question)
        text = protocol.opening_text(question.question, self.max_turns, given, self._max_information)
        return question.id, text

    @classmethod
    def prepare(cls, steps: Sequence[tuple[Self, str]]) -> None:
        """Ask the retriever all queries of these steps in one call."""
        parsed = [(env, protocol.parse(action)) for env, action in steps]
        asking = [(env, query) for env, action in parsed if (query := env._query(action)) is not None]
        answers = search_together([(env._searcher(), query, env.topk) for env, query in asking])
        for (env, query), passages in zip(asking, answers, strict=True):
            env._prepared = None if passages is None else (query, passages)

    def _query(self, action: protocol.Parsed) -> str | None:
        """The query of an action; None if it is no search, or comes too late for one."""
        searches = action.kind == "search" and self._remaining > 1
        return protocol.query_text(action.content) if searches else None

    def _act(self, action: str) -> Outcome:
        parsed = protocol.parse(action)
        if (query := self._query(parsed)) is not None:
            return Outcome(self._with_notice(self._search(query)), "search", 0.0, False)
        self._episode.show((), self.question)
        if parsed.kind == "answer":
            return self._answer(parsed.content)
        text = protocol.OVER if self._remaining == 1 else protocol.notice(parsed.why)
        return Outcome(self._with_notice(text), "invalid", 0.0, False)

    def _search(self, query: str) -> str:
        prepared, self._prepared = self._prepared, None
        if prepared is not None and prepared[0] == query:
            passages = prepared[1][: self.topk]
        else:
            passages = self._searcher().search([query], self.topk)[0][: self.topk]
        self._episode.queries.append(query)  # after the search: a failure must leave the episode unchanged
        self._episode.show(passages, self.question)
        self._episode.search_note = "" if passages else self._why_nothing(query)
        return protocol.information(passages, self._max_information)

    def _why_nothing(self, query: str) -> str:
        """Why a search found no passage, as far as the retriever is known; agents are not told."""
        if self._spec == "bm25" or isinstance(self._spec, Bm25):
            return why_unmatched(query)
        return "the retriever gave no passage for this query"

    def _answer(self, text: str) -> Outcome:
        episode, golden = self._episode, self.question.golden_answers
        episode.answer, episode.em, episode.f1 = text, exact_match(text, golden), f1(text, golden)
        reward = episode.em if self._reward == "em" else episode.f1
        return Outcome(protocol.ANSWERED, "answer", reward, True)

    def _with_notice(self, text: str) -> str:
        """The observation, with a warning after it if the closing turn is next."""
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
            "search_note": episode.search_note,
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
        kept = {field.name: copy(state[field.name]) for field in fields(EpisodeState)}
        self._ask(question, EpisodeState(**kept))

    def _ask(self, question: Question, episode: EpisodeState) -> None:
        self._question, self._episode, self._prepared = question, episode, None
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
        """The retriever for the current question."""
        return self._opened().library.of(self.question.id) if isinstance(self._spec, str) else self._spec

    def _opened(self) -> Lease:
        if self._lease is None:
            assert isinstance(self._spec, str)  # a retriever passed by the caller needs no lease
            self._lease = lend_library(self._spec, self._corpus, *self._names)
        return self._lease


def _require_positive(**counts: int) -> None:
    for name, count in counts.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"{name}={count!r}: give a positive number")


def _require_one_of(name: str, value: str, allowed: Sequence[str]) -> None:
    if value not in allowed:
        raise ValueError(f"{name}={value!r}: give one of {', '.join(map(repr, allowed))}")
