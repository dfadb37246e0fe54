"""The synthetic worlds together: always the same, and nothing of one helps in another."""

import hashlib
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from stepopsd_envs.search_qa import world_words as words
from stepopsd_envs.search_qa.questions import canonical
from stepopsd_envs.search_qa.world import (
    SPLITS,
    TIERS,
    World,
    make_world,
    question_types,
    world_of,
    worlds_of,
)
from tests.helpers.worlds import asked, texts, worlds

COMMON_ANSWERS = {"yes", "no", *words.OCCUPATIONS, *words.PRODUCTS}
HASHES = {  # of all passages and questions: what changes them has to raise VERSION, too
    ("tiny", "train"): "cc2883a96579c264",
    ("tiny", "test"): "dc71c96a2d9cd939",
    ("small", "train"): "14ea4aabe88fd503",
    ("small", "test"): "3b8c8b090ad74d59",
}


def content_hash(tier: str, split: str) -> str:
    """Of everything in the worlds of a tier and split."""
    everything = [(world.passages, world.questions) for world in worlds(tier, split)]
    return hashlib.sha256(repr(everything).encode()).hexdigest()[:16]


def names(world: World) -> set[str]:
    """The full names of what its passages are about."""
    return {passage.title.partition(" (")[0] for passage in world.passages}


def vocabulary(world: World) -> set[str]:
    """All words of its passages and questions."""
    everything = [*texts(world).values(), *(question.question for question in world.questions)]
    return {word for text in everything for word in re.findall(r"\w+", text)}


@pytest.mark.parametrize(("tier", "split"), HASHES)
def test_world_stays_what_it_was(tier: str, split: str) -> None:
    """Records name its questions, and figures rest on it."""
    assert content_hash(tier, split) == HASHES[tier, split]


def test_world_is_the_same_in_every_process() -> None:
    """Whatever the hash seed, and made only once in a process."""
    program = "from tests.envs.search_qa.test_worlds import *; print(content_hash('small', 'test'))"
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[3],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for seed in ("1", "2")
    ]
    assert printed == [content_hash("small", "test")] * 2
    assert make_world("small", "test") is make_world("small", "test")


@pytest.mark.parametrize("tier", TIERS)
@pytest.mark.parametrize("split", SPLITS)
def test_question_types_are_those_of_the_worlds(tier: str, split: str) -> None:
    """Known before any world is made, in canonical order."""
    questions = canonical(asked(tier, split)).questions
    known = question_types(tier, split)
    assert len(known) * len(worlds(tier, split)) == len(questions) * len(worlds_of(tier, split))
    ids = {question.id for question in questions}
    assert [(name, known[name]) for name in known if name in ids] == [(q.id, q.task_type) for q in questions]
    assert all(world_of(question.id) == world_of(question.supporting[0]) for question in questions)


def test_worlds_of_both_splits_share_no_name() -> None:
    """No full name, no question, and no answer but years and the like; in whatever tiers."""
    full = {split: {t: _all_names(t, split) for t in TIERS} for split in SPLITS}
    questions = {split: {q.question for t in TIERS for q in asked(t, split)} for split in SPLITS}
    assert not questions["train"] & questions["test"]
    for tier in TIERS:
        assert not full["train"][tier] & set().union(*full["test"].values())
    golden = [{a for t in TIERS for q in asked(t, split) for a in q.golden_answers} for split in SPLITS]
    common = {answer for answer in set.intersection(*golden) if not answer.isdigit()}
    assert common <= COMMON_ANSWERS


def _all_names(tier: str, split: str) -> set[str]:
    return {name for world in worlds(tier, split) for name in names(world)}


def test_worlds_of_one_split_use_names_for_others() -> None:
    """A name says nothing about who bears it: most come up in several worlds, with other facts."""
    bearers: dict[str, set[str]] = {}
    for world in worlds("small", "train"):
        for passage in world.passages:
            bearers.setdefault(passage.title, set()).add(passage.text)
    assert sum(len(facts) > 1 for facts in bearers.values()) > 0.5 * len(bearers)
    answers: dict[str, set[str]] = {}
    for question in asked("small", "train"):
        answers.setdefault(question.question, set()).add(question.golden_answers[0])
    repeated = {text: found for text, found in answers.items() if len(found) > 1}
    assert len(repeated) > 50 and len({world.passages for world in worlds("tiny", "test")}) == 5


def test_worlds_of_both_splits_share_their_words() -> None:
    """A model that learned to read one world can read the other: only some years are new to it."""
    train, test = (set().union(*map(vocabulary, worlds("small", split))) for split in SPLITS)
    assert all(word.isdigit() for word in test - train)
    assert len(test - train) < 10 and len(train) < 1_000


def test_world_that_is_not_there_is_refused() -> None:
    """The error names what there is."""
    for tier, split in (("huge", "train"), ("small", "valid")):
        with pytest.raises(ValueError, match="give a tier of tiny, small, full and a split of train, test"):
            make_world(tier, split)
    with pytest.raises(
        ValueError, match="no world 5 of tier 'tiny' and split 'test': give a number from 0 to 4"
    ):
        make_world("tiny", "test", 5)
