"""What engines of one game share, and what they do not; the hash of a state beside its definition."""

import pickle
from dataclasses import replace
from hashlib import blake2b

import numpy as np

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.generator import generate_game
from stepopsd_envs.alfworld.world import World, state_hash, things_text


def test_state_hash_is_that_of_the_written_state() -> None:
    """After every kind of command, whatever is remembered of the state before; golden at the start."""
    rng = np.random.default_rng(0)
    for number in range(6):
        engine = Engine(generate_game("full", "train", number))
        engine.reset()
        for _ in range(150):
            commands = engine.admissible_commands()
            moving = [command for command in commands if command[:2] in ("ta", "mo", "op", "cl", "us", "he")]
            choices = moving if moving and rng.random() < 0.7 else commands
            engine.step(choices[rng.integers(len(choices))])
            written = repr(tuple(engine.get_state())).encode()
            assert engine.state_hash() == blake2b(written, digest_size=8).hexdigest()
            assert engine.state_hash() == state_hash(engine.get_state())


def test_things_text_is_part_of_the_written_state() -> None:
    """Of a state and of the world in that state alike."""
    world = World(generate_game("small", "train", 0))
    assert things_text(world) == things_text(world.state())
    assert things_text(world) in repr(tuple(world.state()))


def test_engines_of_a_game_do_not_share_its_state() -> None:
    """They share what the game gives; one played to and fro leaves the other as it was."""
    game = generate_game("small", "train", 3)
    one, other = Engine(game), Engine(pickle.loads(pickle.dumps(game)))
    opening = one.reset()
    assert other.reset() == opening
    before = (other.get_state(), other.state_hash(), other.admissible_commands())
    rng = np.random.default_rng(1)
    for _ in range(60):
        commands = one.admissible_commands()
        one.step(commands[rng.integers(len(commands))])
        commands.clear()
    assert (other.get_state(), other.state_hash(), other.admissible_commands()) == before
    assert one.reset() == opening and one.get_state() == other.get_state()
    assert one.admissible_commands() == other.admissible_commands()


def test_commands_follow_every_change_of_state() -> None:
    """By stepping, by setting a state, by starting again: as a fresh engine lists them."""
    game, rng = generate_game("small", "train", 5), np.random.default_rng(2)
    engine = Engine(game)
    engine.reset()
    states = []
    for _ in range(120):
        commands = engine.admissible_commands()
        engine.step(commands[rng.integers(len(commands))])
        states.append(engine.get_state())
        if rng.random() < 0.2:
            engine.set_state(states[rng.integers(len(states))])
        if rng.random() < 0.05:
            engine.reset()
        fresh = Engine(replace(game, task_id="fresh"))
        fresh.set_state(engine.get_state())
        assert engine.admissible_commands() == fresh.admissible_commands()
        assert engine.won == fresh.won


def test_games_of_one_id_are_told_apart() -> None:
    """Equal hashes do not make two games one: another household under the same id plays its own way."""
    game = generate_game("tiny", "train", 0)
    renamed = replace(game, items=tuple(replace(item, name=f"golden {item.name}") for item in game.items))
    assert hash(game) == hash(renamed) and game != renamed
    engines = [Engine(game), Engine(renamed)]
    for engine in engines:
        engine.reset()
    commands = [set(engine.admissible_commands()) for engine in engines]
    for engine, seen in zip(engines, commands, strict=True):
        for command in [command for command in engine.admissible_commands() if command.startswith("go to")]:
            engine.step(command)
            seen |= set(engine.admissible_commands())
    assert not any("golden" in command for command in commands[0])
    assert any("golden" in command for command in commands[1])
