"""The exploring expert: driven by texts alone, it finds the object wherever it lies."""

from pathlib import Path

import numpy as np
import pytest

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.expert import ExploringExpert, parse_goal
from stepopsd_envs.alfworld.game import TASK_TYPES, Game, load_game
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.official import find_files
from stepopsd_envs.alfworld.tasks import GOAL_TEXTS

OPENING = (
    "-= Welcome to TextWorld, ALFRED! =-\n\nYou are in the middle of a room. Looking quickly around you, you "
    "see a cabinet 1, a countertop 1, a desk 1, a microwave 1, and a shelf 1.\n\nYour task is to: {}"
)
Steps = list[tuple[str, str]]


def play(
    game: Game, limit: int = 50, mistake_rate: float = 0.0, seed: int = 0, peer: Steps | None = None
) -> tuple[bool, Steps]:
    """Whether the expert wins within the limit, and the (command, answer) pairs."""
    engine, expert = Engine(game), ExploringExpert(np.random.default_rng(seed), mistake_rate)
    expert.reset(engine.reset())
    expert.learn(peer or [])
    steps: Steps = []
    while not engine.won and len(steps) < limit:
        command = expert.act()
        steps.append((command, engine.step(command)))
        expert.see(*steps[-1])
    return engine.won, steps


def told(task: str, answers: Steps) -> ExploringExpert:
    """An expert after the opening text and these answers, whoever sent the commands."""
    expert = ExploringExpert(np.random.default_rng(0))
    expert.reset(OPENING.format(task))
    for command, answer in answers:
        expert.see(command, answer)
    return expert


def test_expert_wins_small_games_within_50_commands() -> None:
    """At least 99 % of 200 games, with 8 to 16 commands on average."""
    played = [play(generate_game("small", "train", index)) for index in range(200)]
    assert sum(won for won, _ in played) >= 198
    assert 8 <= np.mean([len(steps) for _, steps in played]) <= 16


def test_expert_wins_official_games(official_games: Path) -> None:
    """At least 90 % of 60 games within 100 commands."""
    files = [file for split in ("valid_seen", "valid_unseen") for file in find_files(official_games / split)]
    games = [load_game(file.path, file.task_id) for file in files[:: len(files) // 60][:60]]
    assert {game.task_type for game in games} == set(TASK_TYPES)
    assert sum(play(game, limit=100)[0] for game in games) >= 54


def test_expert_needs_fewer_commands_after_reading_its_own_attempt() -> None:
    """It goes straight to what the attempt has seen, and still opens what starts closed."""
    games = [generate_game("small", "train", index) for index in range(60)]
    first = [play(game) for game in games]
    again = [play(game, peer=steps) for game, (_, steps) in zip(games, first, strict=True)]
    assert all(won for won, _ in again)
    assert all(len(s) <= len(f) for (_, s), (_, f) in zip(again, first, strict=True))
    assert np.mean([len(s) for _, s in again]) < 0.7 * np.mean([len(f) for _, f in first])


def test_expert_recovers_from_its_mistakes() -> None:
    """With every fourth command a detour it still wins, only later."""
    games = [generate_game("small", "train", index) for index in range(60)]
    played = [play(game, mistake_rate=0.25, seed=seed) for seed, game in enumerate(games)]
    assert sum(won for won, _ in played) >= 57
    assert np.mean([len(steps) for _, steps in played]) > 1.2 * np.mean([len(play(g)[1]) for g in games])


def test_expert_makes_the_same_mistakes_with_the_same_seed() -> None:
    """Nothing but its own generator decides them."""
    game = generate_game("small", "train", 3)
    assert play(game, mistake_rate=0.5, seed=1) == play(game, mistake_rate=0.5, seed=1)
    assert play(game, mistake_rate=0.5, seed=1) != play(game, mistake_rate=0.5, seed=2)


def test_expert_looks_into_open_receptacles_before_closed_ones() -> None:
    """In the order of the list: countertop, desk, shelf, then cabinet and microwave."""
    answers: Steps = []
    for name in ("countertop 1", "desk 1", "shelf 1"):
        expert = told("put a mug in desk.", answers)
        assert expert.act() == f"go to {name}"
        answers.append((f"go to {name}", f"You arrive at {name}. On the {name}, you see nothing."))
    answers.append(("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."))
    assert told("put a mug in desk.", answers[:-1]).act() == "go to cabinet 1"
    assert told("put a mug in desk.", answers).act() == "open cabinet 1"


def test_expert_puts_a_wrong_object_back_and_fetches_the_right_one() -> None:
    """It mends a mistake that somebody else made, too; where the thing does not fit, it goes on elsewhere."""
    seen = ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a cup 1, and a mug 2.")
    slip = ("take cup 1 from shelf 1", "You pick up the cup 1 from the shelf 1.")
    refused = ("move cup 1 to shelf 1", "Nothing happens.")
    mended = ("move cup 1 to shelf 1", "You move the cup 1 to the shelf 1.")
    assert told("put a mug in desk.", [seen, slip]).act() == "move cup 1 to shelf 1"
    assert told("put a mug in desk.", [seen, slip, mended]).act() == "take mug 2 from shelf 1"
    assert told("put a mug in desk.", [seen, slip, refused]).act() == "go to countertop 1"


def test_expert_heats_at_a_closed_microwave_and_then_delivers() -> None:
    """The tool need not be opened; a target that closed meanwhile is opened."""
    answers = [
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a mug 2."),
        ("take mug 2 from shelf 1", "You pick up the mug 2 from the shelf 1."),
        ("go to microwave 1", "You arrive at microwave 1. The microwave 1 is closed."),
        ("heat mug 2 with microwave 1", "You heat the mug 2 using the microwave 1."),
        ("go to cabinet 1", "You arrive at cabinet 1. The cabinet 1 is closed."),
        ("open cabinet 1", "You open the cabinet 1. The cabinet 1 is open. In it, you see nothing."),
        ("close cabinet 1", "You close the cabinet 1."),
    ]
    expected = ["heat mug 2 with microwave 1", "go to cabinet 1", "open cabinet 1", "move mug 2 to cabinet 1"]
    commands = [told("heat some mug and put it in cabinet.", answers[:n]).act() for n in (3, 4, 5, 6)]
    assert commands == expected
    assert told("heat some mug and put it in cabinet.", answers).act() == "open cabinet 1"


def test_expert_brings_two_objects_to_the_same_receptacle() -> None:
    """One that lies in a target already counts, and decides which of several targets it is."""
    opening = OPENING.replace("a desk 1", "a desk 2, a desk 1").format("put two mug in desk.")
    expert = ExploringExpert(np.random.default_rng(0))
    expert.reset(opening)
    expert.see("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 1.")
    expert.see("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a mug 2.")
    assert expert.act() == "take mug 2 from shelf 1"
    expert.see("take mug 2 from shelf 1", "You pick up the mug 2 from the shelf 1.")
    assert expert.act() == "go to desk 1"


def test_expert_holds_the_object_and_uses_the_lamp_it_has_seen() -> None:
    """A lamp seen on the way is remembered; one not seen yet is searched for with the object in hand."""
    lamp = ("go to desk 1", "You arrive at desk 1. On the desk 1, you see a desklamp 1.")
    taken = [
        ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a mug 2."),
        ("take mug 2 from shelf 1", "You pick up the mug 2 from the shelf 1."),
    ]
    task = "look at mug under the desklamp."
    assert told(task, taken).act() == "go to countertop 1"
    assert told(task, [lamp, *taken]).act() == "go to desk 1"
    assert told(task, [*taken, lamp]).act() == "use desklamp 1"


def test_expert_examines_what_it_stands_at_but_cannot_go_to() -> None:
    """Several receptacles can share a location, and nobody can go to where he is."""
    answers = [
        ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see nothing."),
        ("go to desk 1", "Nothing happens."),
    ]
    assert told("put a mug in shelf.", answers).act() == "examine desk 1"


def test_expert_goes_round_again_when_it_has_seen_everything() -> None:
    """Nothing is found the first time; it starts over instead of standing still."""
    names = ("cabinet 1", "countertop 1", "desk 1", "microwave 1", "shelf 1")
    empty = [(f"go to {n}", f"You arrive at {n}. On the {n}, you see nothing.") for n in names]
    assert told("put a mug in desk.", empty).act() == "go to countertop 1"


def test_expert_learns_where_things_lay_before_they_were_moved() -> None:
    """The other attempt moved the mug; in the new episode it lies where it was first seen."""
    expert = told("put a mug in desk.", [])
    expert.learn(
        [
            ("go to shelf 1", "You arrive at shelf 1. On the shelf 1, you see a mug 1."),
            ("take mug 1 from shelf 1", "You pick up the mug 1 from the shelf 1."),
            ("go to countertop 1", "You arrive at countertop 1. On the countertop 1, you see nothing."),
            ("move mug 1 to countertop 1", "You move the mug 1 to the countertop 1."),
            ("examine countertop 1", "On the countertop 1, you see a mug 1."),
        ]
    )
    assert expert.act() == "go to shelf 1"


@pytest.mark.parametrize("task_type", TASK_TYPES)
def test_parse_goal_reads_every_wording(task_type: str) -> None:
    """Each template comes back as what was put into it."""
    for template in GOAL_TEXTS[task_type]:
        goal = parse_goal(template.format(object="remotecontrol", target="armchair"))
        assert (goal.task_type, goal.object, goal.target) == (task_type, "remotecontrol", "armchair")


def test_parse_goal_reads_every_official_goal(official_games: Path) -> None:
    """The six templates are all that the current official games use."""
    for file in find_files(official_games):
        folder = file.task_id.split("/")[-2]
        game = load_game(file.path, file.task_id)
        task_type, thing, _, target, _ = folder.split("-")
        goal = parse_goal(game.goal)
        assert (goal.task_type, goal.object, goal.target) == (task_type, thing.lower(), target.lower())


def test_expert_errors_say_what_to_do() -> None:
    """An unknown task, an observation without one, no observation at all, a rate that is none."""
    expert = ExploringExpert(np.random.default_rng(0))
    with pytest.raises(RuntimeError, match="call reset"):
        expert.act()
    with pytest.raises(ValueError, match="pass reset's text"):
        expert.reset("You arrive at shelf 1.")
    with pytest.raises(ValueError, match=r"'juggle two mug\.'; the expert knows these wordings: put a"):
        expert.reset(OPENING.format("juggle two mug."))
    with pytest.raises(ValueError, match="give a probability"):
        ExploringExpert(np.random.default_rng(0), mistake_rate=1.5)


def test_expert_thought_says_what_is_held_and_wanted() -> None:
    """Unseen at first, named once seen, then what the thing in hand is to be brought to; from texts alone."""
    expert = ExploringExpert(np.random.default_rng(0))
    expert.reset(
        "-= Welcome to TextWorld, ALFRED! =-\n\n"
        "You are in the middle of a room. Looking quickly around you, you see a desk 1, "
        "a fridge 1, and a shelf 1.\n\nYour task is to: cool some mug and put it in shelf."
    )
    assert expert.thought() == "want mug unseen"
    expert.see("go to desk 1", "You arrive at desk 1. On the desk 1, you see a mug 2.")
    assert expert.thought() == "want mug 2"
    expert.see("take mug 2 from desk 1", "You pick up the mug 2 from the desk 1.")
    assert expert.thought() == "hold mug 2, want fridge 1"
    expert.see("cool mug 2 with fridge 1", "You cool the mug 2 using the fridge 1.")
    assert expert.thought() == "hold mug 2, want shelf 1"
