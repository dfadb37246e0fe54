"""Whole groups played by Ray actors: the same tokens as in one process, whatever dies on the way."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import gymnasium as gym
import pytest
import torch
from gymnasium.wrappers import TimeLimit

from stepopsd_agent.rollout import Attempt, SamplingParams, rollout
from stepopsd_agent.rollout.engines import EngineError
from stepopsd_agent.rollout.engines.ray_actors import RayActors
from stepopsd_agent.rollout.engines.ray_player import shares, spec_of_stack
from stepopsd_wrappers import Episode, make_text_env, read_episodes
from tests.agent.rollout.test_language_model import attempts, sampled, stacks
from tests.helpers.launched import rows, wait_until
from tests.helpers.models import tiny
from tests.helpers.runs import ROOT, environment, stepopsd, train_arguments

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="needs Ray, the extra ray")
PARAMS = SamplingParams(max_tokens=8, max_row_tokens=512)
SAME = {"seed": "test", "run": "r", "update": 3}


def logprobs(episodes: list[Episode]) -> torch.Tensor:
    """Log-probabilities of all sampled tokens."""
    return torch.tensor([p for e in episodes for s in e.steps if s.tokens for p in s.tokens.logprobs])


def assert_alike(some: list[Episode], others: list[Episode]) -> None:
    """The same attempts with the same tokens; processors round sums over other batches differently."""
    assert [(e.task_id, e.group, e.member, e.seed) for e in some] == [
        (e.task_id, e.group, e.member, e.seed) for e in others
    ]
    assert sampled(some) == sampled(others)
    torch.testing.assert_close(logprobs(some), logprobs(others), atol=1e-5, rtol=0)


def stop(pid: int) -> None:
    """Kill a process as a machine that runs out of memory does."""
    os.kill(pid, signal.SIGKILL)


def pids(players: RayActors) -> list[int]:
    """Process ids of the running actors."""
    import ray

    asked = [player.__ray_call__.remote(lambda self: os.getpid()) for player in players._players]
    return [int(pid) for pid in ray.get(asked)]


@pytest.fixture(scope="module")
def ray_session() -> Iterator[None]:
    """End Ray's processes after the tests of this file."""
    yield
    import ray

    ray.shutdown()


def test_shares_keep_groups_whole_and_are_even() -> None:
    """Five groups of two in three shares: 2, 2 and 1 groups; no more shares than groups."""
    some = [Attempt("task", 0, group=group, member=member) for group in range(5) for member in range(2)]
    assert shares(some, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert shares(some, 9) == [[0, 1], [2, 3], [4, 5], [6, 7], [8, 9]]
    assert shares(some, 1) == [list(range(10))]


def test_shares_take_every_attempt_of_an_evaluation() -> None:
    """Attempts of one group at many tasks are cut between the tasks."""
    some = [Attempt(f"task {number}", number) for number in range(7)]
    cut = shares(some, 2)
    assert [place for share in cut for place in share] == list(range(7)) and sorted(map(len, cut)) == [3, 4]


@pytest.mark.parametrize("limit", [None, 5])
def test_stack_is_made_again_with_the_same_wrappers(limit: int | None) -> None:
    """The environment's own step limit is not doubled; somebody's TimeLimit is kept."""
    env = gym.make("stepopsd/ALFWorld-v0", tier="tiny", step_limit=9)
    stack = make_text_env(env if limit is None else TimeLimit(env, limit))
    again = gym.make(spec_of_stack(stack))
    assert str(again) == str(stack) and again.spec == stack.spec


def test_stack_with_an_unknown_wrapper_is_refused() -> None:
    """An actor would play in another environment without a word."""

    class Shouting(gym.ObservationWrapper[str, str, str]):
        def observation(self, observation: str) -> str:
            return observation.upper()

    with pytest.raises(ValueError, match="RecordConstructorArgs"):
        spec_of_stack(make_text_env(Shouting(gym.make("stepopsd/ALFWorld-v0", tier="tiny"))))


def test_missing_ray_is_named_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is played."""
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(ImportError, match=r"install.*ray"):
        RayActors()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
def test_number_of_actors_must_be_positive() -> None:
    """None would wait for ever."""
    with pytest.raises(ValueError, match="actors is 0"):
        RayActors(0)


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
@pytest.mark.usefixtures("ray_session")
def test_actors_play_the_same_tokens_as_one_process_and_follow_its_weights() -> None:
    """One and two actors, two calls: the second with other weights, which must have reached the actors."""
    policy, envs, some = tiny(), stacks(4), attempts()
    for number in (1, 2):
        players, seen = RayActors(number), list[Episode]()
        for scale in (1.0, 1.5):
            with torch.no_grad():
                for weight in policy.model.parameters():
                    weight.mul_(scale)
            expected = rollout(policy, envs, some, PARAMS, **SAME)  # type: ignore[arg-type]
            played = players(policy, envs, some, PARAMS, **SAME, on_episode=seen.append)  # type: ignore[arg-type]
            assert_alike(played, expected)
        assert len(seen) == 2 * len(some)
        players.close()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
@pytest.mark.usefixtures("ray_session")
def test_groups_of_a_killed_actor_are_played_again() -> None:
    """Both actors are killed when the first share is done; the rest comes from their successors."""
    policy, envs, some = tiny(), stacks(4), attempts()
    players, killed = RayActors(2, parts=2), list[int]()
    players(policy, envs, some[:2], PARAMS, **SAME)  # type: ignore[arg-type]

    def kill(episode: Episode) -> None:
        if not killed:
            killed.extend(known)
            for pid in killed:
                stop(pid)

    known = pids(players)
    played = players(policy, envs, some, PARAMS, **SAME, on_episode=kill)  # type: ignore[arg-type]
    assert len(killed) == 2 and not set(pids(players)) & set(killed)
    assert_alike(played, rollout(policy, envs, some, PARAMS, **SAME))  # type: ignore[arg-type]
    players.close()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.usefixtures("ray_session")
def test_actors_that_die_again_and_again_end_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message says how often, of what, and which setting to change; nothing waits for ever."""
    monkeypatch.setattr("stepopsd_agent.rollout.engines.ray_actors.DEATHS_LIMIT", 1)
    policy, envs, some = tiny(), stacks(2), attempts()
    players = RayActors(1, parts=3)
    players(policy, envs, some[:1], PARAMS, **SAME)  # type: ignore[arg-type]
    (pid,) = pids(players)
    with pytest.raises(EngineError, match=r"1 actors died.*rollout\.actors"):
        players(policy, envs, some, PARAMS, **SAME, on_episode=lambda episode: stop(pid))  # type: ignore[arg-type]
    assert not players._players


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.usefixtures("ray_session")
def test_errors_arrive_as_they_were_raised() -> None:
    """A setting that the model refuses in the actor is refused with the same words."""
    policy, envs, some = tiny(), stacks(2), attempts()
    params = SamplingParams(max_tokens=2100, max_row_tokens=4096)
    players = RayActors(1)
    with pytest.raises(ValueError, match=r"lower rollout\.max_tokens"):
        players(policy, envs, some, params)
    played: list[Episode] = players(
        policy, envs, some, PARAMS
    )  # others take the place of those that were ended
    assert len(played) == len(some)
    players.close()


@needs_ray
def test_policy_of_another_kind_is_refused() -> None:
    """Like `rollout`, before an actor starts."""
    with pytest.raises(TypeError, match="load_policy"):
        RayActors(1)("runs/warm", [], [])  # type: ignore[arg-type]


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
@pytest.mark.usefixtures("ray_session")
def test_actors_follow_a_policy_that_is_changed_in_place() -> None:
    """Another type of the weights, and an adapter beside which the model itself is changed as well."""
    policy, envs, some = tiny(), stacks(2), attempts()
    players = RayActors(1)

    def widest() -> float:
        played = players(policy, envs, some[:4], PARAMS, **SAME)  # type: ignore[arg-type]
        expected = rollout(policy, envs, some[:4], PARAMS, **SAME)  # type: ignore[arg-type]
        assert sampled(played) == sampled(expected)
        return float((logprobs(played) - logprobs(expected)).abs().max())

    widest()
    policy.model.to(torch.float64)  # type: ignore[arg-type]
    assert widest() < 1e-12
    policy.model.to(torch.float32)  # type: ignore[arg-type]
    policy.adapted = True  # as with an adapter: weights that are not trained are not sent with every call
    for number, weight in enumerate(policy.model.parameters()):
        weight.requires_grad = number == 0
    widest()
    with torch.no_grad():
        for weight in list(policy.model.parameters())[1:]:
            weight.mul_(1.5)
    assert widest() < 1e-5
    players.close()


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.usefixtures("ray_session")
def test_call_without_environments_is_refused_like_that_of_one_process() -> None:
    """With the same words, and none is made in an actor."""
    some = attempts()
    for envs in ([], stacks(1) * 2):
        with pytest.raises(ValueError, match=r"envs lists \d environments, \d distinct"):
            RayActors(1)(tiny(), envs, some, PARAMS)


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:9", "ray://127.0.0.1:9", "auto"])
def test_a_cluster_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch, address: str) -> None:
    """Ray itself would try for minutes, and an OSError would end the command with a trace."""
    monkeypatch.setenv("RAY_ADDRESS", address)
    monkeypatch.setattr("ray.init", missing)
    monkeypatch.setattr("ray.is_initialized", lambda: False)  # tests before may have begun a session
    with pytest.raises(EngineError, match=f"no Ray cluster answers at RAY_ADDRESS, which is '{address}'"):
        RayActors(1)(tiny(), stacks(1), attempts(), PARAMS)


def missing(**settings: object) -> None:
    """As `ray.init` on a machine without a cluster; with an address it is not to be asked."""
    assert os.environ["RAY_ADDRESS"] == "auto"
    raise ConnectionError("Could not find any running Ray instance.")


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.usefixtures("ray_session")
def test_more_actors_than_there_is_room_for_are_refused() -> None:
    """Ray would wait for ever, without a word."""
    policy, envs, some = tiny(), stacks(2), attempts()
    with pytest.raises(EngineError, match=r"1 actors with 1 GPU each do not fit.*rollout\.actor_gpus"):
        RayActors(1, gpus=1)(policy, envs, some, PARAMS)


@needs_ray
@pytest.mark.slow  # Ray's servers take minutes beside other tests on two cores
@pytest.mark.samples
def test_train_with_ray_plays_what_it_plays_without(taught_model: Path, tmp_path: Path) -> None:
    """The command with two actors: the first update's episodes are those of one process, token by token."""
    played = []
    for number, more in enumerate([[], ["--rollout.backend=ray", "--rollout.actors=2"]]):
        out = tmp_path / str(number)
        done = stepopsd(*train_arguments(taught_model, out, "--updates=1", "--eval.num_games=1", *more))
        assert done.returncode == 0, done.stderr
        played.append(list(read_episodes(out / "episodes")))
    assert_alike(*played)


@needs_ray
@pytest.mark.slow
@pytest.mark.samples
def test_a_run_that_is_told_to_end_says_how_it_goes_on(taught_model: Path, tmp_path: Path) -> None:
    """SIGTERM, as a scheduler sends it: Ray let it look as if somebody's code had called sys.exit."""
    out, log = tmp_path / "run", tmp_path / "log"
    flags = ("--rollout.backend=ray", "--updates=400", "--checkpoint_every=400")
    command = [sys.executable, "-m", "stepopsd_agent", *train_arguments(taught_model, out, *flags)]
    with (
        log.open("w") as file,
        subprocess.Popen(command, stdout=file, stderr=file, env=environment(), cwd=ROOT) as running,
    ):
        try:
            wait_until(lambda: (out / "metrics.jsonl").is_file() and len(rows(out)) > 1)
            running.terminate()
            assert running.wait(60) == 1
        finally:
            running.kill()
    assert f"is made again by: stepopsd train --resume {out}" in log.read_text()
    assert "sys.exit" not in log.read_text()
