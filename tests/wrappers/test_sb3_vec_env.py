"""Vector environments for stable-baselines3: its own two, and the in-process one of this project."""

from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_wrappers.sb3 import AdmissibleActions, EncodeText

pytest.importorskip("stable_baselines3", reason="the extra sb3 is not installed")
pytest.importorskip("sb3_contrib", reason="the extra sb3 is not installed")
ENV_ID = "stepopsd/ALFWorld-v0"
TINY: dict[str, Any] = {"tier": "tiny", "step_limit": 4}
SIZE, MOST = 3, 20


def encoded() -> EncodeText:
    """One environment."""
    return EncodeText(AdmissibleActions(gym.make(ENV_ID, **TINY), MOST), "hashing:16")


def in_process(**settings: Any) -> Any:
    """The environments of this project."""
    from stepopsd_wrappers.sb3 import TextVecEnv

    envs = gym.make_vec(ENV_ID, SIZE, autoreset_mode="SameStep", **{**TINY, **settings})
    return TextVecEnv(envs, MOST, "hashing:16")


def of_gymnasium(kind: str, **settings: Any) -> Any:
    """Each kind of ``gymnasium.make_vec``."""
    from stepopsd_wrappers.sb3 import TextVecEnv

    if kind == "vector_entry_point":
        return in_process(**settings)
    vector: dict[str, Any] = {"autoreset_mode": AutoresetMode.SAME_STEP}
    if kind == "async":
        vector["shared_memory"] = False
    made: Any = gym.make_vec(ENV_ID, SIZE, vectorization_mode=kind, vector_kwargs=vector, **TINY, **settings)
    return TextVecEnv(made, MOST, "hashing:16")


def vec_env(kind: str) -> Any:
    """One of three kinds."""
    from stable_baselines3.common.env_util import make_vec_env
    from stable_baselines3.common.vec_env import SubprocVecEnv

    if kind == "in process":
        return in_process()
    more = {"vec_env_cls": SubprocVecEnv} if kind == "processes" else {}
    return make_vec_env(encoded, SIZE, **more)


@pytest.mark.parametrize("kind", ["one after the other", "processes", "in process"])
def test_masks_are_found_through_vector_environments(kind: str) -> None:
    """By the functions that MaskablePPO asks with; each command is True once, after steps and resets, too."""
    from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported

    envs = vec_env(kind)
    assert is_masking_supported(envs)
    envs.seed(3)
    envs.reset()
    infos: Any = envs.reset_infos
    for number in range(6):
        masks = get_action_masks(envs)
        assert masks.shape == (SIZE, MOST) and masks.dtype == np.bool_
        shown = [info["admissible_commands"] for info in infos]
        assert masks.sum(axis=1).tolist() == [len(commands) for commands in shown]
        _, _, dones, infos = envs.step(np.array([number, 0, 19]))
        infos = [envs.reset_infos[i] if dones[i] else info for i, info in enumerate(infos)]
        assert dones.all() == (number == 3)
    envs.close()


@pytest.mark.parametrize("kind", ["vector_entry_point", "sync", "async"])
def test_text_vec_env_equals_one_after_the_other(kind: str) -> None:
    """Vectors, rewards, ends, last vectors and masks, over several episodes."""
    from stable_baselines3.common.vec_env import DummyVecEnv

    one, other = of_gymnasium(kind), DummyVecEnv([encoded for _ in range(SIZE)])
    assert (one.observation_space, one.action_space) == (other.observation_space, other.action_space)
    for envs in (one, other):
        envs.seed(5)
    assert np.array_equal(one.reset(), other.reset())
    rng, ends = np.random.default_rng(0), 0
    for _ in range(14):
        actions = rng.integers(MOST, size=SIZE)
        (left, gained, over, infos), (right, paid, ended, told) = one.step(actions), other.step(actions)
        assert np.array_equal(left, right) and left.dtype == right.dtype
        assert np.array_equal(gained, paid) and gained.dtype == paid.dtype
        assert over.tolist() == ended.tolist()
        assert np.array_equal(one.env_method("action_masks"), other.env_method("action_masks"))
        for mine, theirs in zip(infos, told, strict=True):
            assert mine.keys() == theirs.keys()
            last = mine.pop("terminal_observation", None), theirs.pop("terminal_observation", None)
            assert (last[0] is None) == (last[1] is None) and (last[0] is None or np.array_equal(*last))
            ends += last[0] is not None
            assert mine == theirs
    assert ends == 9
    one.close()


@pytest.mark.parametrize("kind", ["one after the other", "in process"])
def test_eval_callback_and_monitor_count_success(kind: str, tmp_path: Path) -> None:
    """A success is one to stable-baselines3, too: its own callback counts every episode that it plays."""
    from stable_baselines3 import PPO
    from stable_baselines3.common.callbacks import EvalCallback
    from stable_baselines3.common.vec_env import VecMonitor

    monitored = VecMonitor(vec_env(kind), str(tmp_path / "monitor.csv"), info_keywords=("is_success",))
    count = EvalCallback(monitored, n_eval_episodes=6, eval_freq=16, log_path=str(tmp_path), verbose=0)
    PPO("MlpPolicy", vec_env(kind), n_steps=16, batch_size=16, n_epochs=1, seed=0).learn(16, callback=count)
    counted = np.load(tmp_path / "evaluations.npz")["successes"]
    assert counted.shape == (1, 6)
    rows = (tmp_path / "monitor.csv").read_text().splitlines()[2:]
    assert [row.split(",")[-1] == "True" for row in rows[:6]] == counted[0].tolist()


def test_text_vec_env_gives_pictures_and_takes_one_option_for_all() -> None:
    """As recorders of videos ask for them; the option reaches Gymnasium's own vector environments, too."""
    for kind in ("vector_entry_point", "sync"):
        envs = of_gymnasium(kind, render_mode="rgb_array")
        envs.set_options({"game": "generated/tiny/test/3"})
        envs.reset()
        assert [info["task_id"] for info in envs.reset_infos] == ["generated/tiny/test/3"] * SIZE
        assert envs.render_mode == "rgb_array" and len(envs.get_images()) == SIZE
        assert envs.render().ndim == 3 and envs.get_attr("step_limit") == [4] * SIZE


def test_text_vec_env_says_that_other_processes_are_not_asked() -> None:
    """Masks are known here, other attributes are there."""
    envs = of_gymnasium("async")
    assert envs.has_attr("action_masks") and not envs.has_attr("step_limit")
    with pytest.raises(AttributeError, match=r"ask them by envs\.call"):
        envs.get_attr("step_limit")
    envs.close()


def test_in_process_takes_options_and_attributes() -> None:
    """As the other vector environments do."""
    envs = in_process()
    envs.set_options([{"game": "generated/tiny/test/3"}, {}, {"game": "generated/tiny/test/4"}])
    envs.reset()
    names = [info["task_id"] for info in envs.reset_infos]
    assert names[::2] == ["generated/tiny/test/3", "generated/tiny/test/4"]
    assert envs.get_attr("step_limit", [1]) == [4] and envs.env_is_wrapped(EncodeText) == [False] * SIZE
    assert not envs.has_attr("nothing")
    envs.set_attr("step_limit", 9)
    assert envs.get_attr("step_limit") == [9] * SIZE
    envs.close()


def test_in_process_says_what_does_not_fit() -> None:
    """Another mode of resetting, or no list of commands."""
    from stepopsd_wrappers.sb3 import TextVecEnv

    with pytest.raises(ValueError, match=r'autoreset_mode="SameStep"'):
        TextVecEnv(gym.make_vec(ENV_ID, SIZE, **TINY))
    with pytest.raises(ValueError, match="lists no admissible commands"):
        in_process(admissible=False).reset()


def test_algorithms_learn_in_process() -> None:
    """MaskablePPO and DQN take it, and go through ends of episodes."""
    from sb3_contrib import MaskablePPO
    from stable_baselines3 import DQN

    from stepopsd_wrappers.sb3 import CandidateQPolicy, MaskableCandidatePolicy

    ppo = MaskablePPO(MaskableCandidatePolicy, in_process(), n_steps=16, batch_size=16, seed=0)
    dqn = DQN(CandidateQPolicy, in_process(), learning_starts=10, buffer_size=60, seed=0)
    for model in (ppo, dqn):
        model.learn(60)
        assert model.num_timesteps >= 60
