"""The expert for Search-QA: what it says, and that it has read what it says."""

from typing import Any

import numpy as np
import pytest

from stepopsd_agent.rollout import play_agent, success_table
from stepopsd_agent.tasks import get, make_plain_env, task_ids
from stepopsd_agent.tasks.agents import ExpertAgent
from stepopsd_agent.tasks.search_qa import SearchQAExpert
from stepopsd_envs.search_qa.expert import Knowledge, SearchExpert, mistakes, names_in, passages_in
from stepopsd_envs.search_qa.questions import Hop, Question
from stepopsd_wrappers import Episode
from tests.agent.tasks.test_registry import search_config

TWO = Question(
    id="two",
    question="Where does the builder of the Old Mill come from?",
    golden_answers=("Port Lorn", "Lorn"),
    supporting=("mill", "ada"),
    hops=(Hop("Old Mill", "mill"), Hop("Ada Brenk", "ada")),
)
FOUND = '<information>Doc 1(Title: "Old Mill") It was built by Ada Brenk in 1874.</information>'


def playing(question: Question, mistake_rate: float = 0.0, opening: str = "") -> SearchExpert:
    """An expert with four searches."""
    expert = SearchExpert(np.random.default_rng(0), mistake_rate)
    expert.reset(question, 4, opening)
    return expert


def test_search_expert_follows_the_hops_as_far_as_it_has_read() -> None:
    """A hop's query is made from the passage before, so that has to be shown first."""
    expert = playing(TWO)
    assert expert.act() == "<search>Old Mill</search>"
    expert.see("Old Mill", FOUND, ["mill"])
    assert expert.act() == "<search>Ada Brenk</search>"
    expert.see("Ada Brenk", FOUND, ["ada", "other"])
    assert expert.act() == "<answer>Port Lorn</answer>"


def test_search_expert_starts_where_the_given_passages_end() -> None:
    """What the opening text shows need not be searched for."""
    question = Question(**{**{f: getattr(TWO, f) for f in TWO.__slots__}, "given": ("mill",)})
    assert playing(question, opening=FOUND).act() == "<search>Ada Brenk</search>"


def test_search_expert_says_it_otherwise_when_a_query_finds_nothing() -> None:
    """The whole question, then its names, and in the end the same again."""
    expert, asked = playing(TWO), []
    for _ in range(4):
        asked.append(expert.act().removeprefix("<search>").removesuffix("</search>"))
        expert.see(asked[-1], "<information>No passage was found.</information>", [])
    assert asked == ["Old Mill", TWO.question, "Old Mill", "Old Mill"]


def test_search_expert_guesses_when_no_search_is_left() -> None:
    """It has not read the answer, so it takes a name that it has read, which is wrong."""
    expert = playing(TWO)
    for _ in range(4):
        expert.see("mill", FOUND, ["mill"])
    assert expert.act() == "<answer>Old Mill</answer>"


def test_search_expert_quotes_the_sentence_it_rests_on() -> None:
    """The one that names what it asks for next or answers, of the passage asked for where several do."""
    expert = playing(TWO)
    expert.act()
    assert expert.thought() == ""  # nothing read yet
    expert.see("Old Mill", FOUND, ["mill"])
    expert.act()
    assert expert.thought() == "It was built by Ada Brenk in 1874."
    text = (
        '<information>Doc 1(Title: "Harbours") Port Lorn is one.\n'
        'Doc 2(Title: "Ada Brenk") She was shy. Her family came from Port Lorn.</information>'
    )
    expert.see("Ada Brenk", text, ["other", "ada"])
    assert expert.act() == "<answer>Port Lorn</answer>"
    assert expert.thought() == "Her family came from Port Lorn."


def test_search_expert_quotes_what_misled_it() -> None:
    """A mistake has its sentence, too, where one names it."""
    expert = playing(TWO, mistake_rate=1.0, opening="")
    expert.see("Old Mill", FOUND, ["mill"])
    thoughts = {expert.act(): expert.thought() for _ in range(200)}
    assert thoughts["<answer>1874</answer>"] == "It was built by Ada Brenk in 1874."
    assert thoughts["<search>Brenk</search>"] == "It was built by Ada Brenk in 1874."


@pytest.mark.parametrize(
    ("supporting", "retrieved", "text", "action"),
    [
        (("a", "b"), ["a"], "It lies in Port Lorn.", "search"),
        (("a", "b"), ["a", "b"], "Something else.", "answer"),
        ((), ["x"], "It lies in PORT LORN, by the sea.", "answer"),
        ((), ["x"], "It lies in Portlorn.", "search"),
    ],
)
def test_search_expert_without_hops_believes_gold_passages_else_the_text(
    supporting: tuple[str, ...], retrieved: list[str], text: str, action: str
) -> None:
    """It searches for the question as it stands."""
    expert = playing(Question("q", "Where is it?", ("Port Lorn",), supporting))
    assert expert.act() == "<search>Where is it?</search>"
    expert.see("Where is it?", f'<information>Doc 1(Title: "It") {text}</information>', retrieved)
    assert expert.act().startswith(f"<{action}>")


def test_search_expert_mistakes_are_other_searches_and_wrong_answers() -> None:
    """Halves of the name, what was asked before, names it read; never a golden answer."""
    known = Knowledge(TWO, 3, {"mill"}, [passages_in(FOUND)], ["Old Mill"])
    searches, answers = mistakes(known)
    assert {"<search>Old Mill</search>", "<search>Brenk</search>", "<search>1874</search>"} <= set(searches)
    assert set(answers) == {
        "<answer>Old Mill</answer>",
        "<answer>Ada Brenk</answer>",
        "<answer>1874</answer>",
    }
    known.read.append("It lies near Port Lorn.")
    assert "<answer>Port Lorn</answer>" not in mistakes(known)[1]


def test_search_expert_errs_as_often_as_told() -> None:
    """Half of the time, and both kinds about equally."""
    expert = playing(TWO, mistake_rate=0.5)
    said = [expert.act() for _ in range(2_000)]
    wrong = [action for action in said if action != "<search>Old Mill</search>"]
    assert 0.45 < len(wrong) / len(said) < 0.55
    assert 0.4 < sum(action.startswith("<answer>") for action in wrong) / len(wrong) < 0.6
    with pytest.raises(ValueError, match="probability"):
        SearchExpert(np.random.default_rng(0), 1.5)


def test_names_are_capitalised_words_and_years() -> None:
    """A single word that begins a sentence is none."""
    text = '"The Bold Lamp") Born in Port Lorn in 1901, Ada Brenk of the Mill wrote. Critics hated it.'
    assert names_in(text) == ["The Bold Lamp", "Port Lorn", "1901", "Ada Brenk of the Mill"]


def play(agent: Any, **env: Any) -> list[Episode]:
    """Sixty questions of the tiny world, all types among them."""
    made = make_plain_env(search_config(env={"num_questions": 60, **env}).env)
    return play_agent(agent(made), made, task_ids(made), seed=0)


def expert_agent(mistake_rate: float = 0.0) -> Any:
    """Makes the agent for an environment."""
    expert_of = get("stepopsd/SearchQA-v0").expert
    assert expert_of is not None
    return lambda env: ExpertAgent(mistake_rate, expert_of(env))


def test_search_expert_answers_every_kind_of_question() -> None:
    """Through the environment and its retriever; an erring one answers fewer, in the end by a wrong name."""
    clean = play(expert_agent())
    assert len({episode.task_type for episode in clean}) == 6
    assert success_table(clean)["success"] == 1.0
    assert all(step.info["step"]["valid"] for episode in clean for step in episode.steps)
    erring = play(expert_agent(0.4))
    assert 0.2 < success_table(erring)["success"] < 0.9
    assert play(expert_agent(0.4)) == erring


def test_search_expert_never_answers_before_it_has_seen_all_gold() -> None:
    """The share of gold passages shown is 1 before every answer."""
    for episode in play(expert_agent()):
        assert episode.steps[-2].info["gold_seen"] == 1.0


def test_search_expert_needs_search_qa() -> None:
    """Another environment has no questions."""
    env = make_plain_env(search_config(env={"id": "stepopsd/ALFWorld-v0"}).env)
    with pytest.raises(ValueError, match="SearchQAEnv"):
        SearchQAExpert(env, np.random.default_rng(0))


def test_random_searcher_is_a_floor() -> None:
    """Valid actions, hardly an answer that is right; the seed decides all."""
    own = get("stepopsd/SearchQA-v0")
    episodes = play(own.agents["random"])
    assert all(step.info["step"]["valid"] or not step.observation for e in episodes for step in e.steps[:-1])
    assert success_table(episodes)["success"] < 0.3
    assert play(own.agents["random"]) == episodes
