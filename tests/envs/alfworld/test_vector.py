"""Vector environments of ALFWorld games: Gymnasium's two, and the one of this package, in one process."""

from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import data_equivalence
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from stepopsd_envs import unbatch_info
from stepopsd_envs.alfworld.vector import AlfworldVectorEnv
from stepopsd_envs.vector_info import batch_infos
from tests.helpers.alfworld_play import make, solve
from tests.helpers.alfworld_vectors import ENV_ID, SETTINGS, SIZE, alone, make_vec, play

every_mode = pytest.mark.parametrize("mode", list(AutoresetMode), ids=lambda mode: mode.name)
every_kind = pytest.mark.parametrize("kind", ["sync", "async", "vector_entry_point"])


@every_mode
@every_kind
def test_every_vector_environment_gives_each_environments_own_calls(kind: str, mode: AutoresetMode) -> None:
    """Observations, rewards, ends and infos, those at the end of an episode included."""
    envs = make_vec(kind, mode)
    for call, expected in zip(play(envs, mode), alone(mode), strict=True):
        *values, infos = call
        *own_values, own_infos = expected
        assert [list(value) for value in values] == own_values
        for slot, own in enumerate(own_infos):
            assert data_equivalence(unbatch_info(infos, slot), own, exact=True)
    envs.close()


@every_mode
@pytest.mark.parametrize(
    "settings",
    [{}, {"oracle": True, "reward": "optimal_distance"}, {"domain_randomization": True, "tier": "small"}],
    ids=str,
)
def test_in_process_equals_sync_to_the_type(mode: AutoresetMode, settings: dict[str, Any]) -> None:
    """The same arrays of the same types, masks included; whatever the environment is asked for."""
    one, other = (make_vec(kind, mode, **settings) for kind in ("vector_entry_point", "sync"))
    for call, expected in zip(play(one, mode), play(other, mode), strict=True):
        assert data_equivalence(call, expected, exact=True)
        check_types(call, expected)


def check_types(one: Any, other: Any) -> None:
    """Types of everything, and dtypes of arrays."""
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            check_types(one[key], other[key])
    elif isinstance(one, np.ndarray):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
    elif isinstance(one, tuple):
        for left, right in zip(one, other, strict=True):
            check_types(left, right)


@every_mode
@every_kind
def test_infos_are_never_shared(kind: str, mode: AutoresetMode) -> None:
    """Whatever is done to the infos of a call, the next calls are what they would have been."""
    envs, others = make_vec(kind, mode), make_vec(kind, mode)
    for call, expected in zip(play(envs, mode, 6), play(others, mode, 6), strict=True):
        assert data_equivalence(call, expected, exact=True)
        ruin(call[-1])
    envs.close()
    others.close()


def ruin(value: Any) -> None:
    """Empty or overwrite every container within."""
    if isinstance(value, dict):
        for child in value.values():
            ruin(child)
        value.clear()
    elif isinstance(value, np.ndarray):
        for child in value.tolist():
            ruin(child)
        value.fill(0)
    elif isinstance(value, list):
        value.clear()


def test_make_vec_makes_the_environment_of_this_package() -> None:
    """Unless a mode is asked for; a wrapper needs one."""
    envs = make_vec()
    assert type(envs) is AlfworldVectorEnv and isinstance(envs, SyncVectorEnv)
    assert envs.num_envs == SIZE and envs.metadata["autoreset_mode"] is AutoresetMode.NEXT_STEP
    with pytest.raises(gym.error.Error, match="wrappers"):
        gym.make_vec(ENV_ID, SIZE, wrappers=[gym.wrappers.RecordEpisodeStatistics])
    wrapped = gym.make_vec(
        ENV_ID, SIZE, vectorization_mode="sync", wrappers=[gym.wrappers.RecordEpisodeStatistics]
    )
    assert type(wrapped) is SyncVectorEnv


def test_reset_takes_a_game_for_each_environment() -> None:
    """None draws one, as the seed of that environment says; one id is for all."""
    envs = make_vec()
    names = ["generated/tiny/train/7", None, "generated/tiny/test/3"]
    _, infos = envs.reset(seed=11, options={"game": names})
    drawn = make(**SETTINGS).reset(seed=12)[1]["task_id"]
    assert infos["task_id"].tolist() == [names[0], drawn, names[2]]
    _, infos = envs.reset(options={"game": names[0]})
    assert infos["task_id"].tolist() == [names[0]] * SIZE
    _, infos = envs.reset(options={"game": np.array([names[0]] * SIZE)})
    assert infos["task_id"].tolist() == [names[0]] * SIZE


def test_reset_takes_a_snapshot_for_each_environment() -> None:
    """A branch for every slot, each with the limit of its own episode."""
    env = make(**SETTINGS)
    env.reset(seed=1)
    snapshots = [env.snapshot()]
    for _ in range(SIZE - 1):
        env.step("look")
        snapshots.append(env.snapshot())
    envs = make_vec()
    texts, infos = envs.reset(options={"snapshot": snapshots})
    assert infos["step"]["index"].tolist() == [0, 1, 2] and texts[1] == texts[2]
    ends = [envs.step(["look"] * SIZE)[3].tolist() for _ in range(2)]
    assert ends == [[False] * SIZE, [False, False, True]]


@pytest.mark.parametrize("seed", [5, np.int64(5), [5, 6, 7], np.array([5, 6, 7])], ids=repr)
def test_reset_takes_seeds_as_gymnasium_does(seed: Any) -> None:
    """One for all means the next ones for the others."""
    texts, infos = make_vec().reset(seed=seed)
    alone = [make(**SETTINGS).reset(seed=5 + slot) for slot in range(SIZE)]
    assert list(texts) == [text for text, _ in alone]
    assert infos["step"]["episode_id"].tolist() == [info["step"]["episode_id"] for _, info in alone]


def test_reset_mask_leaves_the_other_environments_alone() -> None:
    """They have no info, and their episodes go on; the caller's options stay as they were."""
    envs = make_vec(mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.step(["look"] * SIZE)
    options = {"reset_mask": np.array([False, True, False]), "game": "generated/tiny/train/9"}
    _, infos = envs.reset(seed=3, options=options)
    assert sorted(options) == ["game", "reset_mask"]
    assert [unbatch_info(infos, slot).get("task_id") for slot in range(SIZE)] == [None, options["game"], None]
    assert envs.step(["look"] * SIZE)[-1]["step"]["index"].tolist() == [2, 1, 2]


def test_winning_ends_one_environment_and_not_the_others() -> None:
    """The final info says so, and the next episode of the winner has begun."""
    calls = solve(make(tier="tiny", step_limit=99), options={"game": "generated/tiny/train/1"})
    envs = make_vec(mode=AutoresetMode.SAME_STEP, step_limit=99)
    envs.reset(seed=0, options={"game": ["generated/tiny/train/1", None, None]})
    for call in calls[1:]:
        command = call[4]["step"]["action"]
        _, rewards, terminated, _, infos = envs.step([command, "look", "look"])
    assert (rewards.tolist(), terminated.tolist()) == ([1.0, 0.0, 0.0], [True, False, False])
    winner = unbatch_info(infos, 0)
    assert (winner["final_obs"], winner["final_info"]["won"]) == (calls[-1][0], True)
    assert (winner["won"], winner["step"]["index"]) == (False, 0)
    assert "final_info" not in unbatch_info(infos, 1)


def test_disabled_mode_asks_for_a_reset_before_any_environment_is_stepped() -> None:
    """The message names the environments, and no episode has gone on."""
    envs = make_vec(mode=AutoresetMode.DISABLED)
    envs.reset(seed=0)
    envs.reset(options={"reset_mask": np.array([False, True, True])})
    for _ in range(SETTINGS["step_limit"]):
        envs.step(["look"] * SIZE)
    envs.reset(options={"reset_mask": np.array([True, False, False])})
    with pytest.raises(ResetNeeded, match=r"\[1, 2\] are over"):
        envs.step(["look"] * SIZE)
    assert [env.snapshot()["step"]["index"] for env in envs.envs] == [0, 4, 4]


@pytest.mark.parametrize("actions", ["abc", ["look"], ["look"] * 4, None, 3], ids=repr)
def test_step_refuses_another_number_of_actions(actions: Any) -> None:
    """One string is not a list of its characters."""
    envs = make_vec()
    envs.reset(seed=0)
    with pytest.raises(ValueError, match="give 3 strings"):
        envs.step(actions)


@pytest.mark.parametrize(
    ("reset", "message"),
    [
        ({"seed": [1, 2]}, "seed has 2 entries: give 3"),
        ({"options": {"game": ["generated/tiny/train/1"]}}, r"options\['game'\] has 1 entries"),
        ({"options": {"reset_mask": [True, False, True]}}, "give an array of 3 bools"),
        ({"options": {"reset_mask": np.ones(2, dtype=np.bool_)}}, "give an array of 3 bools"),
        ({"options": {"games": "generated/tiny/train/1"}}, r"with one of \['game', 'snapshot'\]"),
    ],
    ids=str,
)
def test_reset_refuses_what_does_not_fit(reset: dict[str, Any], message: str) -> None:
    """Each message says what would."""
    with pytest.raises(ValueError, match=message):
        make_vec().reset(**reset)


@pytest.mark.parametrize(
    ("env_id", "option"), [("stepopsd/ALFWorld-v0", "game"), ("stepopsd/SearchQA-v0", "question")]
)
@pytest.mark.parametrize(("task", "kind"), [(3, "int"), (b"x", "bytes"), (["x", 3], "int")], ids=str)
def test_reset_names_the_option_whose_type_is_wrong(env_id: str, option: str, task: Any, kind: str) -> None:
    """Alone and in a vector, for both environments: the option, what it got, what it takes."""
    wanted = rf"options\['{option}'\] is .*, of type {kind}: give a str, the id of a task"
    envs = gym.make_vec(env_id, 2)
    known = envs.unwrapped.envs[0].unwrapped.task_ids[0]  # type: ignore[attr-defined]
    with pytest.raises(TypeError, match=wanted):
        envs.reset(options={option: [known, 3] if isinstance(task, list) else task})
    with pytest.raises(TypeError, match=wanted.replace(kind, type(task).__name__)):
        gym.make(env_id).reset(options={option: task})


def test_constructor_refuses_what_the_environment_does() -> None:
    """No argument is swallowed."""
    with pytest.raises(ValueError, match="num_envs=0"):
        AlfworldVectorEnv(num_envs=0)
    unknown: dict[str, Any] = {"tiers": "tiny"}
    with pytest.raises(TypeError, match="tiers"):
        AlfworldVectorEnv(**unknown)


def test_environments_draw_games_of_their_own() -> None:
    """Without a seed, too: they share a list of games, not a generator of random numbers."""
    envs = make_vec(num_games=1000)
    drawn = [tuple(envs.reset()[1]["task_id"]) for _ in range(4)]
    assert all(len({row[slot] for row in drawn}) > 1 for slot in range(SIZE))
    assert any(len(set(row)) > 1 for row in drawn)


def test_batch_infos_without_any_info_is_empty() -> None:
    """As Gymnasium's is when no environment has one."""
    assert batch_infos([None, None]) == {} == batch_infos([])
    assert unbatch_info({}, 0) == {}


def test_vector_environment_renders_and_closes_all() -> None:
    """One text for each."""
    envs = make_vec(render_mode="ansi")
    texts, _ = envs.reset(seed=2)
    assert envs.render() == texts
    envs.close()
