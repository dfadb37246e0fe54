"""What holds for every environment registered as ``stepopsd/...``: a new entry is tested once registered."""

import json
import pickle
import subprocess
import sys
import warnings
from typing import Any

import gymnasium as gym
import jsonschema
import pytest
from gymnasium.utils.env_checker import check_env, data_equivalence

import stepopsd_envs
from stepopsd_envs.rendering import for_terminal
from stepopsd_envs.spaces import UnicodeText
from stepopsd_envs.step_info import json_schema
from stepopsd_envs.testing import check_text_env
from stepopsd_envs.text_env import TextEnv

IDS = sorted(env_id for env_id in gym.registry if env_id.startswith("stepopsd/"))
every_env = pytest.mark.parametrize("env_id", IDS)
# Quick to make, with episodes longer than any played here.
SETTINGS: dict[str, dict[str, Any]] = {"stepopsd/SearchQA-v0": {"tier": "tiny", "max_turns": 20}}
FOUR_STEPS: dict[str, dict[str, Any]] = {
    "stepopsd/ALFWorld-v0": {"step_limit": 4},
    "stepopsd/SearchQA-v0": {"max_turns": 3},
}
ACTIONS = ["look", "<search>born in</search>", "<search>was founded</search>"]  # where none are offered

PLAY = """
import sys, json, gymnasium as gym, stepopsd_envs
env_id, settings, actions = json.loads(sys.argv[1])
env = gym.make(env_id, **settings)
calls = [env.reset(seed=3)]
for k in range(8):
    offered = calls[-1][-1].get("admissible_commands") or actions
    calls.append(env.step(offered[7 * k % len(offered)]))
print(json.dumps([calls, env.unwrapped.transcript, env.unwrapped.fingerprint]))
"""


def make(env_id: str, **kwargs: Any) -> gym.Env[str, str]:
    """The environment with its settings for these tests."""
    env: gym.Env[str, str] = gym.make(env_id, **{**SETTINGS.get(env_id, {}), **kwargs})
    return env


def choose(info: dict[str, Any], number: int) -> str:
    """An action, the same for the same info and number."""
    offered = info.get("admissible_commands") or ACTIONS
    return str(offered[7 * number % len(offered)])


def play(env: gym.Env[str, str], steps: int, seed: int = 3) -> list[Any]:
    """What reset and the steps of an episode return."""
    calls: list[Any] = [env.reset(seed=seed)]
    for number in range(steps):
        calls.append(env.step(choose(calls[-1][-1], number)))
    return calls


def base_of(env: gym.Env[str, str]) -> TextEnv:
    """The environment itself."""
    base = env.unwrapped
    assert isinstance(base, TextEnv)
    return base


def test_registry_has_the_environments() -> None:
    """Registered by entry-point strings, so that registering imports nothing."""
    assert {"stepopsd/ALFWorld-v0", "stepopsd/SearchQA-v0"} <= set(IDS)
    assert all(isinstance(gym.spec(env_id).entry_point, str) for env_id in IDS)


@every_env
def test_env_keeps_the_contract(env_id: str) -> None:
    """The public suite, with three seeds."""
    env = make(env_id)
    for seed in range(3):
        check_text_env(env, seed=seed)


@every_env
def test_env_passes_gymnasiums_checker_without_a_warning(env_id: str) -> None:
    """The bare environment, and the one that `gym.make` wraps."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_env(make(env_id).unwrapped)
        warnings.filterwarnings("ignore", message=".*different from the unwrapped version")
        check_env(make(env_id))


@every_env
def test_env_plays_through_make_without_a_warning(env_id: str) -> None:
    """Gymnasium's passive checker watches the first calls."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        play(make(env_id, disable_env_checker=False), 4)


@every_env
def test_env_that_refused_its_first_reset_plays_on(env_id: str) -> None:
    """A mistyped task spoils nothing: Gymnasium's passive checker would raise at the next step."""
    env = make(env_id)
    with pytest.raises(ValueError, match="no such thing"):
        env.reset(seed=0, options={env.get_wrapper_attr("task_option"): "no such thing"})
    _, info = env.reset(seed=0)
    assert env.step(choose(info, 0))[-1]["step"]["index"] == 1
    env.close()


@every_env
def test_env_is_deterministic(env_id: str) -> None:
    """Two environments, one seed, the same actions: the same observations, rewards and infos."""
    one, other = make(env_id), make(env_id)
    for _ in range(2):  # the second round starts from the end of an episode
        assert data_equivalence(play(one, 10), play(other, 10), exact=True)
        assert base_of(one).transcript == base_of(other).transcript
    assert play(one, 10, seed=4) != play(other, 10)


@every_env
def test_env_is_deterministic_whatever_the_hash_seed(env_id: str) -> None:
    """Another process with other string hashes gives every byte the same."""
    runs = {
        subprocess.run(
            [sys.executable, "-c", PLAY, json.dumps([env_id, SETTINGS.get(env_id, {}), ACTIONS])],
            env={"PYTHONHASHSEED": seed, "PYTHONPATH": ":".join(sys.path)},
            capture_output=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "77")
    }
    assert len(runs) == 1 and json.loads(runs.pop())


@every_env
def test_env_draws_different_tasks(env_id: str) -> None:
    """Without a seed, each reset goes on in the sequence that the last seed began."""
    env = make(env_id)
    drawn = [env.reset(seed=1)[0], *(env.reset()[0] for _ in range(5))]
    again = [env.reset(seed=1)[0], *(env.reset()[0] for _ in range(5))]
    assert drawn == again and len(set(drawn)) > 1


@every_env
def test_env_pickles_in_the_middle_of_an_episode(env_id: str) -> None:
    """The copy goes on as the original does, next episode included."""
    env = make(env_id)
    last = play(env, 3)[-1]
    copy = pickle.loads(pickle.dumps(env))
    for number in range(3):
        action = choose(last[-1], number)
        last = env.step(action)
        assert copy.step(action) == last
    assert copy.reset() == env.reset()


@every_env
def test_env_renders_in_every_mode(env_id: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The last exchange, returned as text or printed for people."""
    env = make(env_id, render_mode="ansi")
    calls = play(env, 1)
    rendered: Any = env.render()
    assert rendered == f"> {choose(calls[0][1], 0)}\n{calls[1][0]}"
    capsys.readouterr()
    shown = make(env_id, render_mode="human")
    play(shown, 1)
    assert shown.render() is None
    printed = f"{for_terminal(calls[0][0])}\n{for_terminal(f'[1/{base_of(env).step_limit}] {rendered}')}\n"
    assert capsys.readouterr().out == printed


@every_env
def test_env_infos_are_json_and_follow_the_schema(env_id: str) -> None:
    """Each info survives JSON unchanged, and its `step` validates."""
    for call in play(make(env_id), 10):
        info = call[-1]
        jsonschema.validate(info["step"], json_schema())
        assert json.loads(json.dumps(info)) == info


@every_env
def test_env_spec_makes_the_environment_again(env_id: str) -> None:
    """Through JSON, as records keep it."""
    env = make(env_id, **FOUR_STEPS[env_id])
    spec = env.spec
    assert spec is not None
    again = gym.make(type(spec).from_json(spec.to_json()))
    assert data_equivalence(play(env, 4), play(again, 4), exact=True)
    assert base_of(again).step_limit == 4
    assert base_of(again).fingerprint == base_of(env).fingerprint


@every_env
def test_env_spaces_hold_every_text(env_id: str) -> None:
    """Agents may say anything."""
    env = make(env_id)
    assert env.observation_space == env.action_space == UnicodeText()


@every_env
@pytest.mark.parametrize("mode", ["sync", "async"])
def test_env_vectorises_and_unbatches_exactly(env_id: str, mode: str) -> None:
    """Each environment's info comes back as if it had been played alone."""
    kwargs = {"shared_memory": False} if mode == "async" else {}
    envs = gym.make_vec(
        env_id, num_envs=2, vectorization_mode=mode, vector_kwargs=kwargs, **SETTINGS.get(env_id, {})
    )
    alone = [make(env_id) for _ in range(2)]
    observations, infos = envs.reset(seed=11)
    expected: list[Any] = [env.reset(seed=11 + i) for i, env in enumerate(alone)]
    for number in range(4):
        for i in range(2):
            info = stepopsd_envs.unbatch_info(infos, i)
            assert observations[i] == expected[i][0]
            assert data_equivalence(info, expected[i][-1], exact=True)
        actions = tuple(choose(call[-1], number) for call in expected)
        expected = [env.step(action) for env, action in zip(alone, actions, strict=True)]
        observations, _, _, _, infos = envs.step(actions)
    envs.close()


@every_env
def test_env_says_how_to_run_in_processes(env_id: str) -> None:
    """Strings of any length fit into no shared memory; the error names the setting to use."""
    with pytest.raises(Exception, match="shared_memory=False"):
        gym.make_vec(env_id, num_envs=2, vectorization_mode="async", **SETTINGS.get(env_id, {}))
