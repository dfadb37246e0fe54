"""The searches of one turn of all slots are one call of the retriever, and change no record."""

import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gymnasium as gym
import pytest

from stepopsd_agent.rollout import Attempt, EnvironmentDownError, Failures, play
from stepopsd_agent.rollout.playing import Response, Slot
from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.search_qa.retrieval.base import Passage, RetrieverError
from stepopsd_envs.search_qa.retrieval.cache import CachedRetriever
from stepopsd_envs.search_qa.together import MOST, search_together
from stepopsd_envs.search_qa.world import make_world, worlds_of
from stepopsd_envs.search_qa.world_set import FilteredWorlds
from stepopsd_wrappers import Episode, make_text_env
from tests.helpers.search_qa import Library, answer, library_env, search


class Counting(Library):
    """A library that notes the calls, and fails for some queries."""

    def __init__(self, failing: Sequence[str] = (), *, transient: bool = False) -> None:
        super().__init__()
        self.calls: list[list[str]] = []
        self.failing, self.transient = failing, transient

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The whole call fails with one query."""
        self.calls.append(list(queries))
        if bad := [query for query in queries if query in self.failing]:
            raise RetrieverError(f"cannot answer {bad[0]}", transient=self.transient)
        return super().search(queries, k)


class Scripted:
    """A `BatchAgent` whose responses are given by member and turn."""

    def __init__(self, responses: Sequence[Sequence[str]]) -> None:
        self.responses = responses

    def begin(self, place: int, slot: Slot) -> None:
        """Nothing to prepare."""

    def act(self, slots: Sequence[Slot]) -> list[Response]:
        """The response of each attempt's turn."""
        return [Response(self.responses[slot.attempt.member][slot.turn]) for slot in slots]

    def is_full(self, place: int, slot: Slot) -> bool:
        """Never."""
        return False

    def keep(self, places: Sequence[int]) -> None:
        """Nothing to drop."""


def played(folder: Path, retriever: Any, responses: Sequence[Sequence[str]], slots: int = 0) -> list[Episode]:
    """The attempts at one question, side by side."""
    count = slots or len(responses)
    envs = [make_text_env(library_env(folder, retriever, max_turns=3), format="search") for _ in range(count)]
    attempts = [Attempt("q2", seed=member, member=member) for member in range(len(responses))]
    return play(Scripted(responses), envs, attempts)


TURNS = [search("Sandor"), search("Brenk"), answer("Port Lorn")]


def test_eight_slots_with_one_query_ask_once_a_turn(tmp_path: Path) -> None:
    """Not sixteen times."""
    retriever = Counting()
    episodes = played(tmp_path, retriever, [TURNS] * 8)
    assert retriever.calls == [["Sandor"], ["Brenk"]]
    assert all(episode.success for episode in episodes)


def test_different_queries_of_a_turn_are_one_call_in_the_order_of_the_slots(tmp_path: Path) -> None:
    """Those that search; others answer, err, or are in their closing turn."""
    retriever = Counting()
    script = [
        [search("Sandor"), search("Wend"), search("Lorn"), search("too late")],
        [search("Brenk"), "no tag at all", search("Wend"), answer("x")],
        [search("Sandor"), answer("Port Lorn")],
        [answer("Port Lorn")],
        [search("Ada"), search(" Wend "), search("Lorn"), answer("Port Lorn")],
    ]
    episodes = played(tmp_path, retriever, script)
    assert retriever.calls == [["Sandor", "Brenk", "Ada"], ["Wend"], ["Lorn", "Wend"]]
    assert [episode.success for episode in episodes] == [False, False, True, True, True]
    assert [len(e.steps) - 1 for e in episodes] == [4, 4, 2, 1, 4]


def test_records_are_those_of_searches_one_by_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever is searched, with more attempts than slots, and through a cache."""
    words = ["Sandor", "Brenk", "Wend", "nothing", "Mill\n", "Port Lorn ", ""]
    script = [[search(words[(3 * i + j) % 7]) for j in range(3)] + [answer("Port Lorn")] for i in range(12)]
    many, cached = Counting(), Counting()
    together = played(tmp_path, many, script, slots=5)
    through_cache = played(tmp_path, CachedRetriever(cached), script, slots=5)
    alone = Counting()
    monkeypatch.setattr(SearchQAEnv, "prepare", lambda *_: None)
    assert played(tmp_path, alone, script, slots=5) == together == through_cache
    searches = sum(step.info["step"]["kind"] == "search" for one in together for step in one.steps)
    assert len(alone.calls) == searches > 30 and len(many.calls) < 15 and len(cached.asked) < 7


@pytest.mark.parametrize("transient", [False, True])
def test_a_query_that_fails_fails_its_own_episode_alone(tmp_path: Path, transient: bool) -> None:
    """The others are asked alone then, as they were before."""
    retriever = Counting(["Brenk"], transient=transient)
    first = [[search(word), answer("Port Lorn")] for word in ("Sandor", "Brenk", "Wend")]
    episodes = played(tmp_path, retriever, first)
    assert [episode.failed for episode in episodes] == [False, True, False]
    assert "cannot answer Brenk" in str(episodes[1].steps[-1].error)
    assert retriever.calls == [["Sandor", "Brenk", "Wend"], ["Sandor"], ["Brenk"], ["Wend"]]


class Careless(Counting):
    """A retriever of somebody's own that meets a query it was not made for."""

    def __init__(self, how: str) -> None:
        super().__init__()
        self.how = how

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """Fails, or forgets a list, if one of the queries is "Brenk"."""
        found = super().search(queries, k)
        if "Brenk" in queries and self.how == "raises":
            raise KeyError("Brenk")
        return found[1:] if "Brenk" in queries else found


@pytest.mark.parametrize(("how", "error"), [("raises", "KeyError"), ("too few", "IndexError")])
def test_a_mistake_of_a_retriever_fails_its_own_episode_alone(tmp_path: Path, how: str, error: str) -> None:
    """Any error does, not those of this package alone: with one slot the others are played, too."""
    first = [[search(word), answer("Port Lorn")] for word in ("Sandor", "Brenk", "Wend")]
    episodes = played(tmp_path, Careless(how), first)
    assert [episode.failed for episode in episodes] == [False, True, False]
    assert error in str(episodes[1].steps[-1].error)


def test_a_single_slot_asks_as_it_steps(tmp_path: Path) -> None:
    """There is nothing to wait for."""
    retriever = Counting()
    played(tmp_path, retriever, [TURNS] * 2, slots=1)
    assert retriever.calls == [["Sandor"], ["Brenk"]] * 2


def test_environments_with_other_settings_do_not_share_results(tmp_path: Path) -> None:
    """Neither between retrievers nor between numbers of passages."""
    one, two = Counting(), Counting()
    envs = [library_env(tmp_path, retriever, topk=k) for retriever in (one, two) for k in (1, 2, 2)]
    for env in envs:
        env.reset(seed=0, options={"question": "q2"})
    SearchQAEnv.prepare([(env, search("Port")) for env in envs])
    assert one.calls == two.calls == [["Port"]]
    found = [env.step(search("Port"))[4]["retrieved"] for env in envs]
    assert found == [["ada"], ["ada", "lorn"], ["ada", "lorn"]] * 2
    assert one.calls == two.calls == [["Port"], ["Port"]]


def test_questions_of_several_worlds_share_the_calls_of_one_retriever() -> None:
    """Each round asks what is still missing, of all worlds at once; results are those of one by one."""
    worlds = [make_world("tiny", "train", number) for number in worlds_of("tiny", "train")]
    retriever = Counting()
    retriever.passages = [passage for world in worlds for passage in world.passages]
    library, k = FilteredWorlds(retriever, "tiny", "train"), 3
    asked = [(library.of(world.questions[0].id), "born", k) for world in worlds for _ in range(2)]
    asked.append((library.of(worlds[0].questions[0].id), "xyzzy", k))
    found = search_together(asked)
    together = list(map(sorted, retriever.calls))
    assert together[0] == ["born", "xyzzy"] and 1 < len(together) <= 4
    assert all(call == ["born"] for call in together[1:])
    assert found == [searcher.search([query], k)[0] for searcher, query, _ in asked]
    assert len({passages[0].id for passages in found[:-1] if passages}) == len(worlds) > 1


def test_what_was_prepared_serves_the_next_step_alone(tmp_path: Path) -> None:
    """Another query is asked; after a reset, a restore or in a copy nothing is left of it."""
    retriever = Counting()
    pair = [library_env(tmp_path, retriever) for _ in range(2)]
    for env in pair:
        env.reset(seed=0, options={"question": "q2"})
    start = pair[0].snapshot()

    def prepare() -> None:
        SearchQAEnv.prepare([(env, search("Sandor")) for env in pair])
        retriever.calls.clear()

    prepare()
    assert pair[0].step(search("Wend"))[4]["retrieved"] == ["wend"] and retriever.calls == [["Wend"]]
    for again in (
        lambda: pair[1].reset(seed=0, options={"question": "q2"}),
        lambda: pair[1].restore(start),
    ):
        prepare()
        again()
        pair[1].step(search("Sandor"))
        assert retriever.calls == [["Sandor"]]
        pair[1].restore(start)
    prepare()
    copy = pickle.loads(pickle.dumps(pair[1]))
    assert copy.step(search("Sandor"))[4]["retrieved"] == ["mill"] and copy._spec.calls == [["Sandor"]]


def test_a_dead_retriever_is_waited_for_once_more_a_turn(tmp_path: Path) -> None:
    """The slots together, then each alone; 20 failures in a row end the play, so the waits are bounded."""
    words = [f"word{n}" for n in range(28)]
    retriever = Counting(words, transient=True)
    envs = [make_text_env(library_env(tmp_path, retriever), format="search") for _ in range(4)]
    attempts = [Attempt("q2", seed=member, member=member) for member in range(len(words))]
    failures = Failures()
    with pytest.raises(EnvironmentDownError, match="20 times in a row"):
        play(Scripted([[search(word)] for word in words]), envs, attempts, on_episode=failures.note)
    assert sorted(map(len, retriever.calls)) == [1] * 20 + [4] * 5


def test_calls_hold_as_many_queries_as_a_server_takes_at_once() -> None:
    """More go in several calls."""
    retriever = Counting()
    words = [f"word{n}" for n in range(2 * MOST + 1)]
    found = search_together([(retriever, word, 3) for word in words] + [(retriever, "Ada", 3)] * 2)
    assert [len(call) for call in retriever.calls] == [MOST, MOST, 2]
    assert found[:-2] == [[]] * len(words) and found[-1] == found[-2] != []


def test_other_environments_are_stepped_as_ever(tmp_path: Path) -> None:
    """One that prepares nothing, and one that is none of ours behind a wrapper."""
    envs: list[gym.Env[str, str]] = [
        make_text_env(gym.make("stepopsd/ALFWorld-v0", tier="tiny", num_games=1, step_limit=2))
        for _ in range(2)
    ]
    name = envs[0].get_wrapper_attr("task_ids")[0]
    attempts = [Attempt(name, seed=0, member=member) for member in range(2)]
    look = ["<action>look</action>"] * 2
    episodes = play(Scripted([look, look]), envs, attempts)
    assert [step.action for step in episodes[0].steps[1:]] == ["look", "look"]
