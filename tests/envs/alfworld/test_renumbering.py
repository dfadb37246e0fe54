"""Object numbers drawn anew: a permutation within each kind, a function of task and seed, no more."""

import pickle
from dataclasses import replace

import pytest

from stepopsd_envs.alfworld import Engine, Game
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.renumbering import new_names, renamed
from stepopsd_envs.testing import check_text_env
from tests.helpers.alfworld_games import ITEMS, kitchen
from tests.helpers.alfworld_play import make, solve

FULL = generate_game("full", "train", 4)


def kind(name: str) -> str:
    """The name without its number."""
    return name.rpartition(" ")[0]


def test_new_names_are_permutations_within_kinds() -> None:
    """Every name is given once, to a thing of its kind; of many things, some change places."""
    names = new_names(FULL, 7)
    assert sorted(names) == sorted(names.values())
    assert all(kind(old) == kind(new) for old, new in names.items())
    assert any(old != new for old, new in names.items())
    things = [thing.name for thing in FULL.receptacles] + [thing.name for thing in FULL.items]
    assert sorted(names) == sorted([*things, *FULL.location_names])


def test_new_names_are_a_function_of_task_and_seed() -> None:
    """Equal for equal ones, whatever was drawn before; different seeds and tasks differ. Golden values."""
    assert new_names(FULL, 7) == new_names(FULL, 7)
    assert len({tuple(new_names(FULL, seed).values()) for seed in range(10)}) == 10
    assert new_names(FULL, 7) != new_names(replace(FULL, task_id="other"), 7)
    cups = tuple(replace(ITEMS[0], name=f"cup {number}") for number in (4, 3, 2, 1))
    drawn = [new_names(kitchen(items=cups), seed) for seed in (0, 1)]
    assert [names["cup 4"] for names in drawn] == ["cup 4", "cup 3"]
    assert [names["cup 1"] for names in drawn] == ["cup 2", "cup 4"]


def test_new_names_are_drawn_uniformly() -> None:
    """Each of the two orders of two mugs comes up about every other time: 200 draws, 5 sigma = 35."""
    swapped = sum(new_names(kitchen(), seed)["mug 1"] == "mug 2" for seed in range(200))
    assert 65 <= swapped <= 135


def test_renamed_keeps_everything_but_names() -> None:
    """Household, order, task and rules stay; the walkthrough goes with the names, and wins."""
    names = new_names(FULL, 7)
    game = renamed(FULL, names)
    assert [names[thing.name] for thing in FULL.items] == [thing.name for thing in game.items]
    back = renamed(game, {new: old for old, new in names.items()})
    assert back == FULL
    assert _won_by_walkthrough(game)
    assert renamed(FULL, {}) is FULL


def test_renamed_tells_numbers_apart() -> None:
    """No "mug 1" is found in "mug 12", nor a "knife 1" in "butterknife 1"."""
    game = kitchen(walkthrough=("take mug 12 from desk 1", "slice apple 1 with butterknife 1", "look"))
    names = {"mug 1": "mug 5", "mug 12": "mug 1", "knife 1": "knife 9", "desk 1": "desk 2"}
    assert renamed(game, names).walkthrough == (
        "take mug 1 from desk 2",
        "slice apple 1 with butterknife 1",
        "look",
    )


def test_new_names_leave_what_has_no_number() -> None:
    """Curtains have none; a name with a blank for it stays as it is."""
    game = kitchen(items=(*ITEMS, replace(ITEMS[-1], name="curtains ")))
    assert "curtains " not in new_names(game, 0)
    assert renamed(game, new_names(game, 0)).items[-1].name == "curtains "


def test_env_numbers_anew_per_seed() -> None:
    """Seeds of one task give different numbers; a seed gives the same again, in this and another env."""
    env, other = (make(tier="full", num_games=6, domain_randomization=True) for _ in range(2))
    task = {"game": env.task_ids[4]}
    openings = [env.reset(seed=seed, options=task)[0] for seed in range(5)]
    assert len(set(openings)) > 1
    assert [other.reset(seed=seed, options=task)[0] for seed in range(5)] == openings
    plain = make(tier="full", num_games=6)
    assert plain.reset(seed=0, options=task)[0] == Engine(plain._pool.game(env.task_ids[4])).reset()
    assert plain.fingerprint == env.fingerprint


def test_env_draws_the_same_tasks_as_without() -> None:
    """Numbering takes nothing out of the generator that draws the tasks."""
    envs = [make(domain_randomization=anew) for anew in (False, True)]
    for env in envs:
        env.reset(seed=3)
    tasks = [[env.reset()[1]["task_id"] for _ in range(5)] for env in envs]
    assert tasks[0] == tasks[1]


def test_env_numbers_the_same_for_the_episode_seed() -> None:
    """An episode that drew its own seed can be begun again with it."""
    env = make(tier="full", domain_randomization=True)
    env.reset(seed=0)
    opening, info = env.reset()
    seed = env.episode_seed
    assert env.reset(seed=seed, options={"game": info["task_id"]})[0] == opening


@pytest.mark.parametrize("anew", [True, False])
def test_env_snapshots_keep_the_numbers(anew: bool) -> None:
    """Restored, reset to, or pickled, the episode goes on alike; also in an env with another setting."""
    env = make(tier="full", domain_randomization=True)
    env.reset(seed=5)
    env.step(env._admissible[0])
    snapshot = pickle.loads(pickle.dumps(env.snapshot()))
    restored, copy = make(tier="full", domain_randomization=anew), pickle.loads(pickle.dumps(env))
    _, info = restored.reset(options={"snapshot": snapshot})
    for command in info["admissible_commands"][::5]:
        assert env.step(command) == restored.step(command) == copy.step(command)


def test_env_oracle_knows_the_new_numbers() -> None:
    """The distance is that of the old numbers; the plan names things by the new ones, and wins."""
    plain, env = make(tier="full"), make(tier="full", domain_randomization=True)
    task = {"game": FULL.task_id}
    plain.reset(seed=7, options=task)
    env.reset(seed=7, options=task)
    plan = env.oracle.plan()
    assert env.oracle.distance() == plain.oracle.distance() == len(plan)
    for command in plan:
        assert command in env.oracle.best_commands()
        terminated = env.step(command)[2]
    assert terminated


def test_env_is_solved_by_expert_with_new_numbers() -> None:
    """The expert goes by what it reads; the contract of environments holds."""
    env = make(tier="tiny", domain_randomization=True)
    assert all(solve(env, seed=seed)[-1][2] for seed in range(6))
    check_text_env(env)


def _won_by_walkthrough(game: Game) -> bool:
    engine = Engine(game)
    engine.reset()
    for command in game.walkthrough:
        assert command in engine.admissible_commands()
        engine.step(command)
    return engine.won
