"""The Search-QA environment: turns, rewards, info, snapshots, failures."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from gymnasium.error import ResetNeeded

from stepopsd_envs.search_qa import protocol
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.questions import QuestionsNotFoundError
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.testing import Turn, check_text_env, check_turns
from tests.helpers.search_qa import PASSAGES, ROWS, Library, answer, library_env, search, write_rows


def play(env: SearchQAEnv, actions: list[Any], question: str = "q2") -> list[Turn]:
    """An episode, checked."""
    observation, info = env.reset(seed=0, options={"question": question})
    turns = [Turn(None, observation, 0.0, False, False, info, env.transcript)]
    turns += [Turn(action, *env.step(action), env.transcript) for action in actions]
    check_turns(turns)
    return turns


def kinds(turns: list[Turn]) -> list[str]:
    """What the steps were."""
    return [turn.info["step"]["kind"] for turn in turns[1:]]


def test_episode_of_two_searches_and_an_answer(tmp_path: Path) -> None:
    """Passages come back, the right answer pays and ends it."""
    turns = play(library_env(tmp_path), [search("Sandor"), search("Brenk"), answer("port lorn.")])
    assert turns[0].observation.endswith(
        "Question: Where did the builder of the Old Mill of Sandor come from?"
    )
    assert turns[1].observation == protocol.information(PASSAGES[:1])
    assert kinds(turns) == ["search", "search", "answer"]
    assert [turn.reward for turn in turns] == [0.0, 0.0, 0.0, 1.0]
    assert [turn.terminated for turn in turns] == [False, False, False, True]
    assert [turn.info["gold_seen"] for turn in turns] == [0.0, 0.5, 1.0, 1.0]
    assert [turn.info["new_gold"] for turn in turns] == [[], ["mill"], ["ada"], []]
    assert [turn.info["retrieved"] for turn in turns] == [[], ["mill"], ["mill", "ada"], []]
    assert [turn.info["search_count"] for turn in turns] == [0, 1, 2, 2]
    assert [turn.info["won"] for turn in turns] == [False, False, False, True]
    last = turns[-1].info
    assert (last["em"], last["f1"], last["task_type"], last["task_id"]) == (1.0, 1.0, "2-hop", "q2")
    assert last["goal"] == ROWS[1]["question"]


@pytest.mark.parametrize(
    ("query", "note"),
    [
        ("who was it?", "the query has no words but stop words, which are not searched for"),
        ("!?", "the query has no words but stop words, which are not searched for"),
        ("の", "scripts without blanks are searched by pairs of characters, and 'の' stands alone"),
        ("xyzzy of plugh", "no passage has 'xyzzy', 'plugh'"),
        ("山", "no passage has '山'"),
        ("Sandor", ""),
        ("the の Brenk", ""),
    ],
)
def test_info_says_why_a_search_found_nothing(tmp_path: Path, query: str, note: str) -> None:
    """As far as BM25 can tell; the agent reads what it always does, and the next step has no note."""
    passages = (*PASSAGES, Passage("ja", "", "日本の橋"))
    env = library_env(tmp_path, Bm25(passages))
    turns = play(env, [search(query), search("Sandor"), search(query), "nothing", answer("x")])
    assert [turn.info["search_note"] for turn in turns] == ["", note, "", note, "", ""]
    assert bool(note) == (turns[1].observation == "<information>No passage was found.</information>")


def test_info_of_an_unknown_retriever_says_only_that_it_found_nothing(tmp_path: Path) -> None:
    """A snapshot keeps it."""
    env = library_env(tmp_path)
    turns = play(env, [search("xyzzy")])
    assert turns[-1].info["search_note"] == "the retriever gave no passage for this query"
    _, info = library_env(tmp_path).reset(options={"snapshot": env.snapshot()})
    assert info["search_note"] == turns[-1].info["search_note"]


@pytest.mark.parametrize(
    ("reward", "text", "paid", "won"),
    [
        ("em", "Ada Brenk", 1.0, True),
        ("em", "Ada", 0.0, False),
        ("f1", "Ada", 2 / 3, False),
        ("f1", "Brenk", 1.0, True),
    ],
)
def test_reward_is_paid_with_the_answer(
    tmp_path: Path, reward: str, text: str, paid: float, won: bool
) -> None:
    """Exact match or F1; won means exact."""
    (_, turn) = play(library_env(tmp_path, reward=reward), [answer(text)], "q1")
    assert turn.reward == pytest.approx(paid)
    assert (turn.terminated, turn.truncated, turn.info["won"]) == (True, False, won)
    assert turn.info["f1"] >= turn.info["em"] == float(won)


def test_gold_seen_is_unknown_without_gold(tmp_path: Path) -> None:
    """-1 throughout, and nothing is ever new gold."""
    turns = play(library_env(tmp_path), [search("Brenk"), answer("Ada Brenk")], "q1")
    assert {turn.info["gold_seen"] for turn in turns} == {-1.0}
    assert {tuple(turn.info["new_gold"]) for turn in turns} == {()}


def test_closing_turn_follows_the_last_search(tmp_path: Path) -> None:
    """It is announced, and an answer still counts."""
    turns = play(library_env(tmp_path, max_turns=2), [search("Sandor"), search("Brenk"), answer("Port Lorn")])
    assert protocol.LAST_TURN not in turns[1].observation
    assert turns[2].observation.endswith(f"</information>\n{protocol.LAST_TURN}")
    assert turns[3].terminated and not turns[3].truncated and turns[3].reward == 1.0


@pytest.mark.parametrize("last", [search("Lorn"), "I do not know.", None, "<answer></answer>"])
def test_closing_turn_without_an_answer_truncates(tmp_path: Path, last: Any) -> None:
    """Whatever else it brings is invalid and not carried out."""
    library = Library()
    turns = play(library_env(tmp_path, library, max_turns=1), [search("Sandor"), last])
    assert kinds(turns) == ["search", "invalid"]
    assert turns[-1].observation == protocol.OVER
    assert turns[-1].truncated and not turns[-1].terminated and turns[-1].reward == 0.0
    assert library.asked == ["Sandor"] and turns[-1].info["search_count"] == 1


def test_invalid_action_uses_up_a_turn(tmp_path: Path) -> None:
    """Just as a search does, so every episode ends; it finds and changes nothing."""
    env = library_env(tmp_path, max_turns=3)
    turns = play(env, ["look", search("Sandor"), None, search("Brenk")])
    assert kinds(turns) == ["invalid", "search", "invalid", "invalid"]
    assert turns[1].observation == protocol.notice("there are neither search nor answer tags")
    assert turns[3].observation.endswith(protocol.LAST_TURN)
    assert [turn.info["search_count"] for turn in turns] == [0, 0, 1, 1, 1]
    assert turns[1].info["step"]["state"] == turns[0].info["step"]["state"]
    assert turns[-1].truncated
    with pytest.raises(ResetNeeded, match="step limit"):
        env.step(answer("Ada"))


def test_query_is_asked_clean(tmp_path: Path) -> None:
    """One line, visible characters, bounded; the action is kept as it was."""
    library = Library()
    action = search("the\n\u202eWend\x00 " + "x" * 10_000)
    turns = play(library_env(tmp_path, library), [action])
    assert library.asked == [("the Wend " + "x" * 10_000)[: protocol.MAX_QUERY]]
    assert turns[1].info["step"]["action"] == action


def test_passages_are_counted_and_cut(tmp_path: Path) -> None:
    """At most topk, whatever the retriever returns, within max_information."""
    library = Library([Passage(f"p{k}", f"Title {k}", "word " * 500) for k in range(9)])
    env = library_env(tmp_path, library, topk=4, max_information=1_000)
    turns = play(env, [search("word")])
    assert turns[1].info["retrieved"] == ["p0", "p1", "p2", "p3"]
    assert 990 < len(turns[1].observation) <= 1_000
    assert play(env, [search("nothing")])[1].observation == protocol.information([])


def test_state_knows_what_was_read_not_when(tmp_path: Path) -> None:
    """Two ways to the same passages lead to one state; an answer is another."""
    env = library_env(tmp_path)
    one = play(env, [search("Sandor"), search("Wend")])
    other = play(env, [search("Wend"), "hm", search("Sandor")])
    states = [turns[-1].info["step"]["state"] for turns in (one, other)]
    assert states[0] == states[1] != one[1].info["step"]["state"]
    assert play(env, [answer("a")])[1].info["step"]["state"] != play(env, [])[0].info["step"]["state"]


def test_snapshot_continues_exactly(tmp_path: Path) -> None:
    """In another environment, through JSON, with what was seen and asked; a changed question is refused."""
    env = library_env(tmp_path)
    play(env, [search("Sandor")])
    snapshot = json.loads(json.dumps(env.snapshot()))
    rest = [search("Brenk"), "hm", answer("Port Lorn")]
    expected = [env.step(action) for action in rest]
    other = library_env(tmp_path)
    other.reset(options={"snapshot": snapshot})
    assert [other.step(action) for action in rest] == expected
    assert other.transcript == env.transcript
    write_rows(tmp_path / "questions.jsonl", [ROWS[0], {**ROWS[1], "golden_answers": ["Lorn"]}])
    changed = SearchQAEnv(questions=tmp_path / "questions.jsonl", retriever=Library())
    with pytest.raises(ValueError, match="another version of question q2"):
        changed.restore(snapshot)
    snapshot["state"]["seen"].append("more")  # the environment holds copies
    assert other.snapshot()["state"]["seen"] == ["mill", "ada"]


def test_failing_retriever_leaves_the_episode_as_it_was(tmp_path: Path) -> None:
    """The error comes out of step, never a reward of 0; the same step can be tried again."""
    library = Library()
    env = library_env(tmp_path, library)
    turns = play(env, [search("Sandor")])
    before = env.snapshot()
    library.broken = True
    with pytest.raises(RetrieverError, match="closed"):
        env.step(search("Brenk"))
    assert env.snapshot() == before and env.transcript == turns[-1].transcript
    library.broken = False
    assert env.step(search("Brenk"))[-1]["step"]["index"] == 2


def test_env_keeps_the_contract_on_a_file(tmp_path: Path) -> None:
    """The public suite, on questions that have no hops."""
    check_text_env(library_env(tmp_path, render_mode="ansi"))


def test_pickled_copy_plays_on(tmp_path: Path) -> None:
    """With a copy of a retriever of its own."""
    env = library_env(tmp_path)
    play(env, [search("Sandor")])
    copy = pickle.loads(pickle.dumps(env))
    assert copy.step(search("Brenk")) == env.step(search("Brenk"))


def test_reset_draws_and_names_questions(tmp_path: Path) -> None:
    """Drawn from those selected; any of the set can be named."""
    env = library_env(tmp_path, task_types="question", num_questions=1)
    assert env.task_ids == ("q1",)
    assert {env.reset(seed=seed)[1]["task_id"] for seed in range(5)} == {"q1"}
    assert env.reset(options={"question": "q3"})[1]["goal"] == "How long is the Wend?"
    with pytest.raises(QuestionsNotFoundError, match="is not among the 3 of"):
        env.reset(options={"question": "q9"})
    for name in (3, None):
        with pytest.raises(TypeError, match=r"options\['question'\] is .*: give a str"):
            env.reset(options={"question": name})
    with pytest.raises(ValueError, match="'question'"):
        env.reset(options={"game": "q1"})


def test_records_say_what_was_asked_and_searched(tmp_path: Path) -> None:
    """Fingerprint of the questions, version of protocol and retriever."""
    env = library_env(tmp_path)
    assert env.engine_version == f"search_qa {protocol.VERSION}, library"
    assert env.fingerprint != library_env(tmp_path, num_questions=2).fingerprint
    assert env.task_option == "question"


def test_retriever_of_the_caller_stays_open(tmp_path: Path) -> None:
    """Closing is for who opened it."""
    library = Library()
    library_env(tmp_path, library).close()
    assert library.closed == 0


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"max_turns": 0}, "max_turns=0"),
        ({"max_turns": True}, "max_turns=True"),
        ({"topk": 2.0}, "topk=2.0"),
        ({"num_questions": -1}, "num_questions=-1"),
        ({"num_questions": 0}, "num_questions=0"),
        ({"num_questions": 4}, "only 3"),
        ({"reward": "rouge"}, "give one of 'em', 'f1'"),
        ({"split": "dev"}, "give one of 'train', 'test'"),
        ({"task_types": ["3-hop"]}, "2-hop"),
        ({"topk": 3, "max_information": 100}, "3 passages need 600"),
        ({"render_mode": "rgb"}, "render_mode"),
        ({"retriever": "bm25"}, "corpus="),
    ],
)
def test_bad_arguments_are_explained(tmp_path: Path, kwargs: dict[str, Any], message: str) -> None:
    """When the environment is made."""
    with pytest.raises(ValueError, match=message):
        library_env(tmp_path, **kwargs)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"retriever": 3}, "retriever=3: give one of bm25, .*or an object with fingerprint, search"),
        ({"retriever": None}, "retriever=None: give one of bm25"),
        ({"retriever": ["bm25"]}, r"retriever=\['bm25'\]: give one of bm25"),
        ({"corpus": 5}, "corpus=5: give None, a file of passages or a folder made by `stepopsd index`"),
        ({"questions": None}, "questions=None: give 'synthetic', a file or the name of a data set"),
        ({"questions": ["nq"]}, r"questions=\['nq'\]: give 'synthetic'"),
        ({"task_types": 5}, "task_types=5: give None, a text or a list of texts"),
    ],
)
def test_arguments_of_another_type_are_explained(kwargs: dict[str, Any], message: str) -> None:
    """Before anything is opened."""
    with pytest.raises(ValueError, match=message):
        SearchQAEnv(**{"tier": "tiny", **kwargs})


def test_question_without_reset_is_refused(tmp_path: Path) -> None:
    """There is none."""
    env = library_env(tmp_path)
    for ask in (lambda: env.question, lambda: env.oracle):
        with pytest.raises(ResetNeeded):
            ask()
