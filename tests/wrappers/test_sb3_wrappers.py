"""Commands as numbers and texts as vectors, without stable-baselines3."""

import pickle
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from gymnasium.error import CustomSpaceError
from gymnasium.utils.env_checker import check_env

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_envs.spaces import UnicodeText
from stepopsd_wrappers import RecordEpisode, replay, vector
from stepopsd_wrappers.sb3 import (
    AdmissibleActions,
    CachedEncoder,
    DistanceReward,
    EncodeText,
    HashingEncoder,
    make_encoder,
)
from stepopsd_wrappers.sb3.encoders import Vectors
from tests.helpers.text_env import make_env


def games(max_actions: int = 20, **settings: Any) -> AdmissibleActions:
    """Tiny games with numbered commands."""
    return AdmissibleActions(gym.make("stepopsd/ALFWorld-v0", tier="tiny", **settings), max_actions)


def test_admissible_actions_numbers_commands_and_begins_the_list_again() -> None:
    """Action i and action i + the number of commands are the same; the mask has each command once."""
    played = []
    for again in (0, 1):
        env = games(step_limit=5)
        _, info = env.reset(seed=3)
        count = len(info["admissible_commands"])
        assert env.action_masks().sum() == count and env.action_masks()[:count].all()
        command = info["admissible_commands"][2]
        observation, _, _, _, info = env.step(np.int64(2 + again * count))
        assert info["step"]["valid"] and info["step"]["action"] == command
        played.append(observation)
    assert played[0] == played[1]
    assert games().get_wrapper_attr("action_masks")().shape == (20,)


def test_admissible_actions_says_what_does_not_fit() -> None:
    """Too few numbers, no list, no number at all."""
    with pytest.raises(ValueError, match="max_actions is 5: give max_actions=10"):
        games(5).reset(seed=0)
    with pytest.raises(ValueError, match="lists no admissible commands"):
        games(admissible=False).reset(seed=0)
    with pytest.raises(ValueError, match="lists no admissible commands"):
        AdmissibleActions(gym.make("stepopsd/SearchQA-v0")).reset(seed=0)
    with pytest.raises(ValueError, match="max_actions is 0"):
        games(0)


def test_admissible_actions_names_a_size_that_is_enough() -> None:
    """Doubling alone may not reach what the state has."""
    with pytest.raises(ValueError, match=r"max_actions is 1: give max_actions=\d+$") as refused:
        games(1).reset(seed=0)
    games(int(str(refused.value).rpartition("=")[2])).reset(seed=0)


@pytest.mark.parametrize("action", [-1, 20])
def test_admissible_actions_refuses_numbers_outside_its_space(action: int) -> None:
    """Within it the commands repeat; any other number is a mistake, not a command."""
    env = games(20)
    env.reset(seed=0)
    with pytest.raises(ValueError, match=f"action is {action}; give a number from 0 to 19"):
        env.step(action)


def test_admissible_actions_tell_success_apart_from_the_record() -> None:
    """``is_success`` is what ``won`` is, at every step; the record's info has it not."""
    recorded = RecordEpisode(make_env(step_limit=50))
    env = AdmissibleActions(recorded, 6)
    env.reset(seed=0)
    told, over = list[bool](), False
    while not over:
        commands = env.commands
        number = commands.index("open door" if "open door" in commands else "go right")
        _, _, terminated, truncated, info = env.step(number)
        told.append(info["is_success"])
        over = bool(terminated or truncated)
    assert told == [False] * (len(told) - 1) + [True] and info["won"]
    episode = recorded.last_episode
    assert episode is not None and all("is_success" not in step.info for step in episode.steps)


def test_encode_text_keeps_gymnasium_s_contract() -> None:
    """By its own checker; spaces survive pickling; the order of the wrappers is checked."""
    env = EncodeText(games(step_limit=5), "hashing:16")
    check_env(env, skip_render_check=True)
    space = pickle.loads(pickle.dumps(env.observation_space))
    assert (space, space.encoder, space.size, space.candidates) == (
        env.observation_space,
        "hashing:16",
        16,
        20,
    )
    assert env.get_wrapper_attr("action_masks")().any()
    with pytest.raises(ValueError, match=r"the order is EncodeText\(AdmissibleActions\(env\)\)"):
        EncodeText(make_env())


def test_encode_text_holds_texts_candidates_answers_and_counts() -> None:
    """Each part where the class says it is; candidates beyond the commands repeat them."""
    encoder = HashingEncoder(32)
    env = EncodeText(AdmissibleActions(make_env(), 7), encoder)
    vector, info = env.reset(seed=0, options={"game": "corridor/5"})
    commands = info["admissible_commands"]
    assert commands == ["go left", "go right", "help"]
    texts, rows, answers, given = parts(vector, 32, 7)
    assert np.array_equal(texts[1], encoder([info["goal"]])[0]) and not texts[2].any()
    again = [*commands, *commands, commands[0]]
    assert np.array_equal(rows, encoder(again)) and not answers.any() and not given.any()
    for action in (1, 4):
        vector, *_, info = env.step(action)
    texts, rows, answers, given = parts(vector, 32, 7)
    seen = info["step"]
    latest = env.unwrapped.transcript[seen["observation_start"] : seen["observation_end"]]  # type: ignore[attr-defined]
    assert np.array_equal(texts[0], encoder([latest])[0])
    assert np.allclose(texts[2], 1.9 * encoder(["go right"])[0])
    place = info["admissible_commands"].index("go right")
    assert np.array_equal(answers[place], texts[0]) and np.isclose(given[place], np.log(3))
    assert np.flatnonzero(given[:3]).tolist() == [place]


def parts(vector: Vectors, size: int, count: int) -> list[Vectors]:
    """State, commands, answers and counts."""
    places = np.cumsum([3 * size, count * size, count * size])
    state, rows, answers, given = np.split(vector, places)
    return [state.reshape(3, size), rows.reshape(count, size), answers.reshape(count, size), given]


def test_recorder_inside_records_the_commands() -> None:
    """As of any other agent: the record replays."""
    recorder = RecordEpisode(gym.make("stepopsd/ALFWorld-v0", tier="tiny", step_limit=4))
    env = EncodeText(AdmissibleActions(recorder, 20))
    env.reset(seed=1)
    over = False
    while not over:
        *_, terminated, truncated, _ = env.step(env.action_space.sample())
        over = bool(terminated or truncated)
    assert recorder.last_episode is not None and recorder.last_episode.num_steps == 4
    assert all(step.info["step"]["valid"] for step in recorder.last_episode.steps)
    assert replay(recorder.last_episode).equal


def test_recorder_around_numbers_is_refused() -> None:
    """It would record empty responses, which an export hands on as what the agent said."""
    with pytest.raises(TypeError, match=r"Discrete\(20\): put it inside"):
        RecordEpisode(games())
    envs = gym.make_vec("stepopsd/ALFWorld-v0", 2, vectorization_mode="sync", wrappers=[AdmissibleActions])
    with pytest.raises(TypeError, match="put it inside"):
        vector.RecordEpisode(envs)


def test_hashing_encoder_likens_texts_that_share_words() -> None:
    """Numbers tell things of a kind apart, but do not liken things of other kinds; equal in every process."""
    encoder = HashingEncoder(512)
    mug, other, pen, empty = encoder(["take mug 1", "take mug 2", "move pen 1", "?!"])
    assert np.isclose(mug @ mug, 1) and 0.4 < mug @ other < 0.9 and abs(mug @ pen) < 0.2 and not empty.any()
    assert np.array_equal(encoder(["Take MUG 1"])[0], mug)
    assert make_encoder("hashing:512")(["take mug 1"]).tobytes() == encoder(["take mug 1"]).tobytes()
    assert (make_encoder("hashing").size, make_encoder("hashing").name) == (128, "hashing:128")
    with pytest.raises(ValueError, match="hashing:SIZE"):
        make_encoder("hashing:many")
    with pytest.raises(ValueError, match="1 or more"):
        make_encoder("hashing:0")


class Counting(HashingEncoder):
    """Notes what it encodes."""

    def __init__(self) -> None:
        super().__init__(8)
        self.texts: list[str] = []

    def __call__(self, texts: Any) -> Vectors:
        """Encode and note."""
        self.texts += texts
        return super().__call__(texts)


def test_cached_encoder_encodes_a_text_once() -> None:
    """Until it is forgotten."""
    inner = Counting()
    encoder = CachedEncoder(inner, limit=2)
    first = encoder(["a", "b", "a"])
    assert inner.texts == ["a", "b"] and np.array_equal(first, HashingEncoder(8)(["a", "b", "a"]))
    encoder(["b", "a"])
    assert inner.texts == ["a", "b"]
    assert np.array_equal(encoder(["a", "c"])[0], first[0])
    encoder(["a"])
    assert inner.texts == ["a", "b", "c", "a"] and encoder([]).shape == (0, 8)


def test_text_space_names_the_wrapper_where_arrays_are_wanted() -> None:
    """Where stable-baselines3 asks for its parts."""
    with pytest.raises(CustomSpaceError, match=r"EncodeText\(AdmissibleActions\(env\)\)"):
        hasattr(UnicodeText(), "spaces")


def test_distance_reward_pays_every_command_nearer_and_nothing_at_the_step_limit() -> None:
    """The optimal plan pays 0.1 a command and 1 for winning; ALFWorld's own reward pays back at the limit."""
    tiny: dict[str, Any] = {"tier": "tiny", "step_limit": 30}
    env = DistanceReward(gym.make("stepopsd/ALFWorld-v0", oracle=True, **tiny))
    _, info = env.reset(seed=5)
    distance = info["optimal_distance"]
    base: Any = env.unwrapped
    rewards = [float(env.step(command)[1]) for command in base.oracle.plan()]
    assert np.allclose(rewards, [0.1] * (distance - 1) + [1.1])

    tiny["step_limit"] = 2
    waiting = [
        DistanceReward(gym.make("stepopsd/ALFWorld-v0", oracle=True, **tiny)),
        gym.make("stepopsd/ALFWorld-v0", reward="optimal_distance", **tiny),
    ]
    paid = []
    for each in waiting:
        each.reset(seed=5)
        paid.append([float(each.step("look")[1]) for _ in range(2)])
    assert np.allclose(paid, [[0.0, 0.0], [0.0, 0.1 * distance]])


def test_distance_reward_needs_an_environment_that_tells_the_distance() -> None:
    """The error says how to make one."""
    with pytest.raises(ValueError, match="make ALFWorld with oracle=True"):
        DistanceReward(gym.make("stepopsd/ALFWorld-v0", tier="tiny")).reset(seed=0)
    with pytest.raises(ValueError, match=r"info\['optimal_distance'\]"):
        DistanceReward(make_env()).reset(seed=0)


def test_distance_reward_counts_a_lost_goal_as_far_away() -> None:
    """-2 is no distance: losing the goal for good must not look like coming nearer."""

    class Told(gym.Wrapper[str, Any, str, Any]):
        """Says so at its third call."""

        distances = iter([3, -2, -2])

        def reset(self, **kwargs: Any) -> tuple[str, dict[str, Any]]:
            observation, info = super().reset(**kwargs)
            return observation, {**info, "optimal_distance": next(self.distances)}

        def step(self, action: str) -> Any:
            *values, info = super().step(action)
            return *values, {**info, "optimal_distance": next(self.distances)}

    env = DistanceReward(Told(make_env()), scale=0.5, lost=50)
    env.reset(seed=0)
    own = -0.1
    assert np.allclose([float(env.step("help")[1]) for _ in range(2)], [own - 0.5 * (50 - 3), own])
