"""The native engine: no string can upset it, and its state can be kept, compared and continued."""

import copy
import json
import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import DEFAULT_WORDING, Item, load_game
from stepopsd_envs.alfworld.templates import literal_text
from stepopsd_envs.alfworld.world import EngineState
from tests.helpers.alfworld_games import COUNTER, ITEMS, kitchen, started

NOTHING = "Nothing happens."


@pytest.mark.parametrize(
    "command", ["", "  ", "Look", "look  at", "go  to shelf 1", "go to shelf 9", "take", "help\0"]
)
def test_unknown_commands_do_nothing(command: str) -> None:
    """Case and inner blanks are exact."""
    engine = started()
    before = engine.get_state()
    assert engine.step(command) == NOTHING
    assert engine.get_state() == before


@pytest.mark.parametrize(
    "command", [" go to shelf 1", "go to shelf 1\n", "\t go to shelf 1 \r\n", "\u3000go to shelf 1"]
)
def test_outer_blanks_do_not_matter(command: str) -> None:
    """As with Python's strip."""
    assert started().step(command).startswith("You arrive at shelf 1.")


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(), max_size=50))
def test_step_takes_any_string(command: str) -> None:
    """Any unicode, lone surrogates included."""
    engine = started()
    assert isinstance(engine.step(command), str)


def test_step_takes_huge_and_odd_strings() -> None:
    """A megabyte, control characters, braces and percent signs."""
    engine = started()
    odd = [
        "x" * 1_000_000,
        " " * 1_000_000,
        "go to shelf 1" * 80_000,
        "\0\x1b[2J\x7f",
        "\ud800\udfff",
        "{0} {a} %s %d",
    ]
    assert [engine.step(command) for command in odd] == [NOTHING] * len(odd)


def test_every_admissible_command_does_something_and_no_other() -> None:
    """Random play: admissible commands are answered, all others are not."""
    rng = np.random.default_rng(0)
    engine = started()
    everything = {"look"}
    for _ in range(600):
        admissible = engine.admissible_commands()
        assert admissible == sorted(set(admissible))
        everything |= set(admissible)
        state = engine.get_state()
        other = sorted(everything - set(admissible))
        if other:
            assert engine.step(other[rng.integers(len(other))]) == NOTHING
            assert engine.get_state() == state
        assert engine.step(admissible[rng.integers(len(admissible))]) != NOTHING
    assert len(everything) > 60


def test_state_survives_json_and_continues_identically() -> None:
    """Branch an episode in the middle: same texts, same commands, same hash."""
    rng = np.random.default_rng(1)
    engine = started(None, "go to countertop 1", "take mug 1 from countertop 1", "go to microwave 1")
    state = EngineState.from_json(json.loads(json.dumps(list(engine.get_state()))))
    assert state == engine.get_state()
    assert hash(state) == hash(engine.get_state())
    other = Engine(kitchen())
    other.set_state(state)
    for _ in range(100):
        commands = engine.admissible_commands()
        assert (commands, engine.state_hash(), engine.won) == (
            other.admissible_commands(), other.state_hash(), other.won
        )  # fmt: skip
        command = commands[rng.integers(len(commands))]
        assert engine.step(command) == other.step(command)


@pytest.mark.parametrize("how", ["pickle", "deepcopy"])
def test_engine_survives_copying_in_the_middle(how: str) -> None:
    """The copy goes its own way."""
    engine = started(None, "go to countertop 1", "take mug 1 from countertop 1")
    other = pickle.loads(pickle.dumps(engine)) if how == "pickle" else copy.deepcopy(engine)
    assert other.step("inventory") == "You are carrying: a mug 1."
    other.step("move mug 1 to countertop 1")
    assert engine.step("inventory") == "You are carrying: a mug 1."


def test_state_hash_is_of_the_state_only() -> None:
    """Looking changes nothing; going does; taking and putting back restores it; reset restores everything."""
    engine = started()
    start = engine.state_hash()
    engine.step("look")
    engine.step("nonsense")
    assert engine.state_hash() == start
    engine.step("go to countertop 1")
    there = engine.state_hash()
    assert there != start
    engine.step("take mug 1 from countertop 1")
    assert engine.state_hash() not in (start, there)
    engine.step("move mug 1 to countertop 1")
    assert engine.state_hash() == there
    engine.reset()
    assert engine.state_hash() == start


def test_set_state_refuses_another_games_state() -> None:
    """Numbers that do not fit are named as such, before anything changes."""
    engine = started()
    larger = kitchen(items=(*ITEMS, Item("mug 3", "Mug", (1,), (COUNTER,))))
    before = engine.get_state()
    for state in (Engine(larger).get_state(), before._replace(location=7), before._replace(contents=(0,))):
        with pytest.raises(ValueError, match=r"does not fit .* get_state"):
            engine.set_state(state)
    assert engine.get_state() == before


def test_default_wording_is_the_current_one(official_games: Path) -> None:
    """Generated games read like official ones: the same play of official games under both wordings."""
    rng = np.random.default_rng(2)
    for path in sorted((official_games / "valid_unseen").rglob("*.tw-pddl"))[::9]:
        game = load_game(path)
        engines = [Engine(game), Engine(replace(game, wording=DEFAULT_WORDING))]
        assert len({engine.reset() for engine in engines}) == 1
        for _ in range(150):
            commands = engines[0].admissible_commands()
            assert commands == engines[1].admissible_commands()
            command = commands[rng.integers(len(commands))]
            assert len({engine.step(command) for engine in engines}) == 1


def test_templates_are_read_as_the_original_reads_them() -> None:
    """Blanks and comments in front are dropped, and everything after a character that begins no symbol."""
    assert literal_text("\n  // a comment\n  hello // not one\n") == "hello // not one\n"
    assert literal_text('say "hi" now') == "say hi now"
    assert literal_text("a; b") == "a"
    assert literal_text("") == ""
    assert literal_text("{o.name}") is None
