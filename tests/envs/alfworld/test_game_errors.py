"""Damaged and unplayable game files: whatever is wrong with one is said as GameFileError."""

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from stepopsd_envs.alfworld.engine import Engine
from stepopsd_envs.alfworld.game import GameFileError, load_game
from tests.helpers.alfworld_games import (
    ACTIONS,
    DOMAIN,
    PROBLEM,
    RULES,
    goal_problem,
    grammar,
    small_game,
    write_game,
)


def without(key: str) -> dict[str, Any]:
    """A game file that lacks one key."""
    return {name: value for name, value in small_game().items() if name != key}


def with_rule(name: str, *alternatives: dict[str, Any]) -> dict[str, Any]:
    """A game file with another rule."""
    return small_game() | {"grammar": grammar(RULES | {name: list(alternatives)})}


def with_problem(old: str, new: str) -> dict[str, Any]:
    """A game file with a changed problem."""
    assert old in PROBLEM
    return small_game() | {"pddl_problem": PROBLEM.replace(old, new, 1)}


def with_domain(old: str, new: str) -> dict[str, Any]:
    """A game file with a changed domain."""
    assert old in DOMAIN
    return small_game() | {"pddl_domain": DOMAIN.replace(old, new, 1)}


BAD: dict[str, tuple[Any, str, str]] = {
    "empty file": ("", "", "is not JSON"),
    "cut-off JSON": (json.dumps(small_game())[:-40], "", "is not JSON"),
    "deep JSON": ("[" * 200_000, "", "is not JSON"),
    "huge number": ("1" * 5000, "", "is not JSON"),
    "no object": ("[1, 2]", "", "expected a JSON object, got list"),
    "no domain": (without("pddl_domain"), "pddl_domain", "missing"),
    "no grammar": (without("grammar"), "grammar", "missing"),
    "grammar of wrong type": (small_game() | {"grammar": {}}, "grammar", "expected a string, got dict"),
    "problem of wrong type": (small_game() | {"pddl_problem": None}, "pddl_problem", "got NoneType"),
    "bad walkthrough": (small_game() | {"walkthrough": "look"}, "walkthrough", "list of strings"),
    "bad command": (small_game() | {"walkthrough": [1]}, "walkthrough", "list of strings"),
    "cut-off domain": (small_game() | {"pddl_domain": DOMAIN[:-300]}, "pddl_domain", "cut off"),
    "no domain at all": (small_game() | {"pddl_domain": "hello"}, "pddl_domain", "opening parenthesis"),
    "deep domain": (small_game() | {"pddl_domain": "(" * 10_000}, "pddl_domain", "parentheses"),
    "no action": (with_domain(":action look", ":note look"), "pddl_domain: action look", "missing"),
    "new action": (with_domain(":action look", ":action dance"), "pddl_domain: action dance", "known are"),
    "other action": (
        with_domain("(isHot ?o) (not (isCool ?o))", "(isHot ?o)"),
        "pddl_domain: action heatobject",
        "not those of the official games",
    ),
    "axiom": (
        with_domain("(:types", "(:derived (p) (q))\n(:types"),
        "pddl_domain: :derived",
        "cannot be played",
    ),
    "cut-off problem": (small_game() | {"pddl_problem": PROBLEM[:-100]}, "pddl_problem", "cut off"),
    "no problem": (small_game() | {"pddl_problem": "()"}, "pddl_problem: :objects", "no section"),
    "no facts": (with_problem("(:init", "(:nit"), "pddl_problem: :init", "no section"),
    "untyped object": (with_problem("loc_bar_3 - location", "loc_bar_3 -"), "pddl_problem: :objects", "none"),
    "movable": (
        with_problem("- agent ", "- receptacleObject "),
        "pddl_problem: :objects",
        "receptacleobject",
    ),
    "unknown fact": (
        with_problem("(opened", "(sleeping"),
        "pddl_problem: :init",
        "'sleeping' cannot be played",
    ),
    "unknown thing": (with_problem("(opened Shelf_bar_01)", "(opened x)"), "pddl_problem: :init", "declared"),
    "fact of wrong types": (with_problem("(opened Shelf", "(opened Mug"), "pddl_problem: :init", "types"),
    "no agent": (with_problem("(atLocation agent1 loc_bar_3)", ""), "pddl_problem: :init", "one agent"),
    "nowhere": (
        with_problem("(receptacleAtLocation Shelf_bar_01 loc_bar_1)", ""),
        "pddl_problem: :init",
        "at 0 places",
    ),
    "two types": (
        with_problem("(opened Shelf", "(receptacleType Shelf_bar_01 SinkBasinType) (opened Shelf"),
        "pddl_problem: :init",
        "2 types",
    ),
    "other goal": (
        small_game() | {"pddl_problem": goal_problem("(isClean Mug_bar_01)")},
        "pddl_problem: :goal",
        "cannot be played",
    ),
    "goal with more": (
        with_problem("(isClean ?o)", "(isClean ?o) (isHot ?o)"),
        "pddl_problem: :goal",
        "played",
    ),
    "goal with or": (
        small_game() | {"pddl_problem": goal_problem("(or (a) (b))")},
        "pddl_problem: :goal",
        "cannot be played",
    ),
    "no grammar text": (small_game() | {"grammar": "hello"}, "grammar: rule 'task'", "got 0 of them"),
    "broken grammar": (
        small_game() | {"grammar": grammar() + "}"},
        "grammar: character",
        "expected 'action'",
    ),
    "unclosed action": (small_game() | {"grammar": grammar()[:-3]}, "grammar: action SliceObject", "closing"),
    "no template": (
        small_game() | {"grammar": grammar().replace('template :: "look"', 'grammar :: "{}"')},
        "grammar: action look",
        "expected template",
    ),
    "bad rules": (
        small_game() | {"grammar": grammar().replace('"unused": [', '"unused": [[')},
        "grammar: rules",
        "JSON cannot be read",
    ),
    "rules in a list": (
        small_game() | {"grammar": grammar().replace('{"clean": [{"rhs": "Clean."}]}', "[]")},
        "grammar: rules",
        "expected a JSON object",
    ),
    "rule of wrong type": (with_rule("show", {"rhs": 3}), "grammar: rule 'show'", "expected a list of"),
    "no alternative": (with_rule("show"), "grammar: rule 'show'", "expected a list of"),
    "no rule": (with_rule("show", {"rhs": "#gone#"}), "grammar: rule 'gone'", "does not exist"),
    "endless rule": (with_rule("show", {"rhs": "#show#"}), "grammar: rule 'show'", "refers to itself"),
    "no last resort": (
        with_rule("show", {"rhs": "x", "condition": "opened(r:receptacle)"}),
        "grammar: rule 'show'",
        "last alternative",
    ),
    "no condition": (
        with_rule("show", {"rhs": "x", "condition": "opened"}, {"rhs": "y"}),
        "grammar: rule 'show'",
        "not of the form",
    ),
    "unknown condition": (
        with_rule("show", {"rhs": "x", "condition": "blue(r:receptacle)"}, {"rhs": "y"}),
        "grammar: rule 'show'",
        "'blue' is not known",
    ),
    "condition of wrong type": (
        with_rule("show", {"rhs": "x", "condition": "opened(r:object)"}, {"rhs": "y"}),
        "grammar: rule 'show'",
        "must be about (receptacle)",
    ),
    "code": (with_rule("show", {"rhs": "{__import__('os').name}"}), "grammar: rule 'show'", "cannot be used"),
    "unknown variable": (with_rule("show", {"rhs": "{x.name}"}), "grammar: rule 'show'", "cannot be used"),
    "bad value": (with_rule("show", {"rhs": "{r.}"}), "grammar: rule 'show'", "is not a value"),
    "long value": (
        with_rule("show", {"rhs": "{" + "r+" * 5000 + "r}"}),
        "grammar: rule 'show'",
        "characters",
    ),
    "missing texts": (
        small_game() | {"grammar": grammar(actions={k: v for k, v in ACTIONS.items() if k != "look"})},
        "grammar: action look",
        "missing",
    ),
    "conditional task": (
        with_rule("task", {"condition": "opened(r:receptacle)", "rhs": "a"}, {"rhs": "b"}),
        "grammar: rule 'task'",
        "got 0 of them",
    ),
    "task in other words": (with_rule("task", {"rhs": "Do it."}), "grammar: rule 'task'", "begins with"),
}


@pytest.mark.parametrize("case", BAD)
def test_load_game_says_what_is_wrong(tmp_path: Path, case: str) -> None:
    """File, field, problem and what to do; and nothing but GameFileError."""
    contents, field, problem = BAD[case]
    path = write_game(tmp_path, contents)
    with pytest.raises(GameFileError) as caught:
        load_game(path)
    assert caught.value.path == str(path)
    assert caught.value.field == field or (field and caught.value.field.startswith(field))
    assert problem in caught.value.problem
    assert str(path) in str(caught.value)
    assert caught.value.advice in str(caught.value)
    assert len(str(caught.value)) < len(str(path)) + 1000


def test_load_game_says_that_a_file_cannot_be_opened(tmp_path: Path) -> None:
    """An absent file, a folder, a name that no file can have."""
    for path in (tmp_path / "absent.tw-pddl", tmp_path, tmp_path / "a\0b"):
        with pytest.raises(GameFileError, match=r"cannot be read|is not JSON"):
            load_game(path)


def test_load_game_refuses_what_is_not_utf8(tmp_path: Path) -> None:
    """Bytes of another encoding."""
    path = write_game(tmp_path)
    path.write_bytes(b'{"pddl_domain": "\xff"}')
    with pytest.raises(GameFileError, match="is not JSON"):
        load_game(path)


def test_game_file_error_survives_pickling() -> None:
    """It crosses process borders in vector environments."""
    error = GameFileError("a/b", "grammar", "is odd", "look at it")
    copy = pickle.loads(pickle.dumps(error))
    assert (copy.path, copy.field, str(copy)) == (
        "a/b",
        "grammar",
        "a/b: field 'grammar': is odd; look at it",
    )


def test_game_file_error_is_one_printable_line() -> None:
    """Damaged files hold anything; a message has to reach the terminal."""
    text = str(GameFileError("a\n\ud800", "gr\0", "\x1b[2J é"))
    assert text.startswith(r"a\n\ud800: field 'gr\x00': \x1b[2J é; ")
    text.encode()


EDITS = st.lists(
    st.tuples(
        st.floats(0, 1),
        st.integers(0, 60),
        st.sampled_from(
            ["", "(", ")", '"', "{", "}", "[", "]", "#", "|", "&", "::", '"""', "\\", ";", "\ud800"]
        )
        | st.text(max_size=5),
    ),
    min_size=1,
    max_size=4,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=st.sampled_from(["pddl_domain", "grammar", "pddl_problem", "whole"]), edits=EDITS)
def test_load_game_raises_nothing_else(tmp_path: Path, key: str, edits: list[tuple[float, int, str]]) -> None:
    """Random damage either leaves a game that plays or raises GameFileError."""
    contents = small_game()
    text = json.dumps(contents) if key == "whole" else contents[key]
    for where, length, new in edits:
        start = int(where * len(text))
        text = text[:start] + new + text[start + length :]
    path = write_game(tmp_path)
    whole = text if key == "whole" else json.dumps(contents | {key: text})
    path.write_bytes(whole.encode("utf-8", "surrogatepass"))
    try:
        engine = Engine(load_game(path))
    except GameFileError as error:
        assert str(path) in str(error)
    else:
        engine.reset()
        for command in engine.admissible_commands():
            engine.step(command)
