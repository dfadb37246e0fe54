"""What steps pay: success, conditions of the goal newly met, success shaped by the optimal distance."""

import pickle
import random
from typing import Any

import pytest

from benchmarks.alfworld.small_games import small_game, some_state
from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.env import AlfworldEnv
from stepopsd_envs.alfworld.game import TASK_TYPES, Game, Goal
from stepopsd_envs.alfworld.goal_conditions import GoalConditions
from stepopsd_envs.alfworld.rewards import GAMMA, REWARDS, SCALE, make_reward, potential
from tests.helpers.alfworld_games import kitchen, started
from tests.helpers.alfworld_play import make

TO_COUNTER, PUT = "go to countertop 1", "move mug 1 to shelf 1"
FETCH, TAKE_BACK = f"{TO_COUNTER}; take mug 1 from countertop 1", "take mug 1 from shelf 1"
WASH = "go to sinkbasin 1; clean mug 1 with sinkbasin 1"


def paid(game: Game, name: str, commands: str) -> list[float]:
    """What each command pays; they stand between semicolons."""
    engine = started(game)
    reward = make_reward(name, engine)
    amounts = []
    for command in commands.split("; "):
        assert command in engine.admissible_commands(), command
        engine.step(command)
        amounts.append(reward.pay(engine.won, over=engine.won))
    return amounts


def episode(env: AlfworldEnv, seed: int, wander: int, solve: bool) -> tuple[list[float], bool]:
    """The rewards of an episode, and whether it was won: random commands, then the plan or more of them."""
    rng = random.Random(seed)
    _, info = env.reset(seed=seed)
    amounts: list[float] = []
    over = False
    while not over:
        plan = env.oracle.plan() if solve and len(amounts) >= wander else []
        command = plan[0] if plan else rng.choice(info["admissible_commands"])
        _, amount, terminated, truncated, info = env.step(command)
        assert type(amount) is float
        amounts.append(amount)
        over = terminated or truncated
    return amounts, info["won"]


def test_conditions_of_placing_a_clean_mug() -> None:
    """Three: a mug on the shelf, a clean mug, a clean mug on the shelf. Unclean pays one, clean two more."""
    game = kitchen(win=Goal("Mug", "Shelf", states=("clean",)))
    amounts = paid(game, "goal_conditions", f"{FETCH}; {PUT}; {TAKE_BACK}; {WASH}; {TO_COUNTER}; {PUT}")
    # clean in the hand is one condition, as on the shelf before: no more at once than then
    assert amounts == pytest.approx([0, 0, 1 / 3, 0, 0, 0, 0, 2 / 3])


def test_condition_is_paid_once() -> None:
    """Heated, cooled and heated again."""
    game = kitchen(win=Goal("Mug", "Shelf", states=("hot",)))
    heat = "go to microwave 1; heat mug 1 with microwave 1"
    cool = "go to fridge 1; cool mug 1 with fridge 1"
    amounts = paid(game, "goal_conditions", f"{FETCH}; {heat}; {cool}; {heat}; {TO_COUNTER}; {PUT}")
    assert amounts == pytest.approx([0, 0, 0, 1 / 3, 0, 0, 0, 0, 0, 2 / 3])


def test_conditions_of_two_items() -> None:
    """Each of the two in the one receptacle."""
    other = "go to cabinet 1; open cabinet 1; take mug 2 from cabinet 1; go to shelf 1; move mug 2 to shelf 1"
    amounts = paid(kitchen(win=Goal("Mug", "Shelf", count=2)), "goal_conditions", f"{FETCH}; {PUT}; {other}")
    assert amounts == [0, 0, 0.5, 0, 0, 0, 0, 0.5]


def test_conditions_of_light() -> None:
    """In the hand, and lit where the agent is; lit before and out of the light when taken is one at once."""
    light = "go to sidetable 1; use desklamp 1"
    game = kitchen(win=Goal("Mug", lamp_type="DeskLamp"))
    assert paid(game, "goal_conditions", f"{light}; {FETCH}; go to sidetable 1") == [0, 0.5, 0, 0, 0.5]
    assert paid(game, "goal_conditions", f"{FETCH}; {light}") == [0, 0.5, 0, 0.5]


def test_conditions_met_at_the_start_pay_nothing() -> None:
    """A mug lies in the cabinet; that it is clean, and clean there, is left, and comes at once in the end."""
    wash = "go to sinkbasin 1; clean mug 2 with sinkbasin 1; go to cabinet 1; move mug 2 to cabinet 1"
    commands = f"go to cabinet 1; open cabinet 1; take mug 2 from cabinet 1; {wash}"
    game = kitchen(win=Goal("Mug", "Cabinet", states=("clean",)))
    assert paid(game, "goal_conditions", commands) == [0, 0, 0, 0, 0, 0, 1]


@pytest.mark.parametrize(
    ("win", "total"),
    [
        (Goal("Mug", "Shelf"), 1),
        (Goal("Mug", "Shelf", count=2), 2),
        (Goal("Mug", "Shelf", states=("cool",)), 3),
        (Goal("Mug", lamp_type="DeskLamp"), 2),
        (Goal("Apple", "Shelf", states=("sliced",)), 2),
        (Goal("Apple", "Shelf", count=2, states=("sliced",)), 4),
        (Goal("Apple", "Shelf", states=("hot", "sliced")), 4),
        (Goal("Mug", "Shelf", all_closed=True), 2),  # not in ALFRED
    ],
    ids=repr,
)
def test_number_of_conditions_is_that_of_alfred(win: Goal, total: int) -> None:
    """Its task classes: 1, 2, 3, 2 for place, two, treat, light; as many more as are to be sliced."""
    assert GoalConditions(kitchen(win=win)).total == total


@pytest.mark.parametrize("seed", range(60))
def test_all_conditions_are_met_if_and_only_if_won(seed: int) -> None:
    """On small games of all kinds, in random play."""
    game, rng = small_game(seed), random.Random(seed)
    engine, conditions = Engine(game), GoalConditions(game)
    engine.set_state(some_state(game, seed))
    for _ in range(60):
        met = conditions.met(engine.get_state())
        assert 0 <= met <= conditions.total
        assert (met == conditions.total) == engine.won
        engine.step(rng.choice(engine.admissible_commands()))


def test_goal_conditions_of_a_won_episode_add_up_to_one() -> None:
    """Whatever was done before; no step takes anything back, and without winning it stays below 1."""
    for number, task_type in enumerate(TASK_TYPES):
        env = make(task_types=[task_type], reward="goal_conditions", step_limit=120)
        for seed in range(4):
            amounts, won = episode(env, seed=100 * number + seed, wander=12 * seed, solve=seed < 3)
            assert won or seed == 3
            assert min(amounts) >= 0
            assert sum(amounts) == pytest.approx(1) if won else sum(amounts) < 1


def test_shaping_changes_a_return_by_the_potential_of_the_start_only() -> None:
    """So the best policies stay the best: for wins, losses by the limit, and any way of playing."""
    for solve, limit in ((True, 60), (False, 17), (False, 1)):
        for seed in range(12):
            plain, shaped = (make(reward=name, step_limit=limit) for name in ("success", "optimal_distance"))
            returns = [sum(episode(env, seed, wander=seed, solve=solve)[0]) for env in (plain, shaped)]
            shaped.reset(seed=seed)
            assert GAMMA == 1
            assert returns[1] - returns[0] == pytest.approx(-potential(shaped.oracle.distance()))
            assert returns[0] == 1 or not solve


def test_shaping_pays_each_command_by_what_it_brings() -> None:
    """Nearer, no nearer, farther: 0.1, 0, -0.1; the end takes the potential away."""
    commands = f"{TO_COUNTER}; look; go to sidetable 1; {FETCH}; {PUT}"
    expected = [SCALE, 0, -SCALE, SCALE, SCALE, 1 + SCALE]
    assert paid(kitchen(), "optimal_distance", commands) == pytest.approx(expected)


def test_shaping_has_a_potential_for_games_that_are_lost() -> None:
    """Finite, and below all others: it costs to get there, whatever the distance was."""
    lost = potential(-2)
    assert lost < potential(50) < potential(1) < potential(0) == 0
    game = kitchen(can_contain=frozenset())
    assert paid(game, "optimal_distance", f"look; {TO_COUNTER}") == [0, 0]


def test_success_is_the_default() -> None:
    """1 with the step that wins."""
    amounts, won = episode(make(), seed=1, wander=3, solve=True)
    assert won and amounts == [0.0] * (len(amounts) - 1) + [1.0]
    assert amounts == episode(make(reward="success"), seed=1, wander=3, solve=True)[0]


@pytest.mark.parametrize("name", REWARDS)
def test_rewards_go_on_after_a_snapshot_and_a_pickle(name: str) -> None:
    """What was paid before is not paid again."""
    env = make(reward=name, task_types=["pick_two_obj_and_place"], step_limit=60)
    env.reset(seed=5)
    plan = env.oracle.plan()
    half = len(plan) - 2  # one of the two is in place
    for command in plan[:half]:
        env.step(command)
    restored, copied = make(reward=name), pickle.loads(pickle.dumps(env))
    restored.reset(options={"snapshot": pickle.loads(pickle.dumps(env.snapshot()))})
    expected = [env.step(command)[1] for command in plan[half:]]
    assert [restored.step(command)[1] for command in plan[half:]] == expected
    assert [copied.step(command)[1] for command in plan[half:]] == expected


def test_goal_conditions_refuse_a_snapshot_without_them() -> None:
    """It does not say what was paid already; the running episode is not touched."""
    other, env = make(), make(reward="goal_conditions")
    other.reset(seed=0)
    env.reset(seed=1)
    before = env.snapshot()
    with pytest.raises(ValueError, match="another reward"):
        env.restore(other.snapshot())
    assert env.snapshot() == before


@pytest.mark.parametrize("value", ["shaped", "", True])
def test_unknown_rewards_are_refused(value: Any) -> None:
    """The error names those there are."""
    with pytest.raises(ValueError, match=r"reward=.*'success', 'goal_conditions', 'optimal_distance'"):
        AlfworldEnv(reward=value)
