"""The synthetic world: what can be relied on, whatever the dice say."""

import hashlib
import os
import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest

from stepopsd_envs.search_qa import world_words as words
from stepopsd_envs.search_qa.questions import Question, canonical
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.scoring import normalize_answer
from stepopsd_envs.search_qa.world import (
    SIZES,
    SPLITS,
    TASK_TYPES,
    TIERS,
    World,
    make_world,
    question_types,
    world_of,
    worlds_of,
)
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_drawing import draw_encyclopedia
from stepopsd_envs.search_qa.world_facts import KINDS, Encyclopedia
from stepopsd_envs.search_qa.world_names import Names
from stepopsd_envs.search_qa.world_passages import ASIDES, OPENINGS, SENTENCES
from stepopsd_envs.search_qa.world_questions import CYCLE, draw_questions
from stepopsd_envs.search_qa.world_wording import ASKING

TOPK = 3  # of the environment
COMMON_ANSWERS = {"yes", "no", *words.OCCUPATIONS, *words.PRODUCTS}
COUNTS = {"country": 24, "city": 150, "person": 900, "company": 300, "work": 640}
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


def texts(world: World) -> dict[str, str]:
    """What its passages say, titles included, by id."""
    return _texts(world.tier, world.split, world.number)


@lru_cache(maxsize=512)
def _texts(tier: str, split: str, number: int) -> dict[str, str]:
    passages = make_world(tier, split, number).passages
    return {passage.id: f"{passage.title}. {passage.text}" for passage in passages}


def names(world: World) -> set[str]:
    """The full names of what its passages are about."""
    return {passage.title.partition(" (")[0] for passage in world.passages}


def vocabulary(world: World) -> set[str]:
    """All words of its passages and questions."""
    everything = [*texts(world).values(), *(question.question for question in world.questions)]
    return {word for text in everything for word in re.findall(r"\w+", text)}


def told(world: World, answers: tuple[str, ...], passage: str) -> bool:
    """Whether a passage has one of the answers in it."""
    text = f" {normalize_answer(texts(world)[passage])} "
    return any(f" {normalize_answer(answer)} " in text for answer in answers)


@lru_cache
def encyclopedia() -> Encyclopedia:
    """A world of facts."""
    return draw_encyclopedia(Dice("facts"), Names(Dice("names"), "train", 0.4), COUNTS)


def worlds(tier: str, split: str) -> list[World]:
    """All of them."""
    return [make_world(tier, split, number) for number in worlds_of(tier, split)]


def both(tier: str) -> Iterator[World]:
    """The worlds of a tier."""
    return (world for split in SPLITS for world in worlds(tier, split))


def asked(tier: str, split: str) -> list[Question]:
    """All questions, in canonical order."""
    return [question for world in worlds(tier, split) for question in world.questions]


@pytest.mark.parametrize("tier", TIERS)
def test_world_has_its_size_and_ids(tier: str) -> None:
    """Passages and questions are sorted by id, in canonical order, and have the environment's ids."""
    for world in both(tier):
        prefix = f"synthetic/{world.tier}/{world.split}/{world.number:03d}"
        assert len(world.passages) == sum(SIZES[tier].counts.values())
        assert len(world.questions) == SIZES[tier].questions[world.split]
        assert [p.id for p in world.passages] == [f"{prefix}/p{n:05d}" for n in range(len(world.passages))]
        assert [q.id for q in world.questions] == [f"{prefix}/{n:05d}" for n in range(len(world.questions))]
        assert canonical(world.questions).questions == world.questions


@pytest.mark.parametrize(("tier", "split"), HASHES)
def test_world_stays_what_it_was(tier: str, split: str) -> None:
    """Records name its questions, and figures rest on it."""
    assert content_hash(tier, split) == HASHES[tier, split]


def test_world_is_the_same_in_every_process() -> None:
    """Whatever the hash seed, and made only once in a process."""
    program = "from tests.test_search_qa_world import *; print(content_hash('small', 'test'))"
    printed = [
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            cwd=Path(__file__).parents[1],
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
    assert list(question_types(tier, split).items()) == [(q.id, q.task_type) for q in questions]
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


@pytest.mark.parametrize("tier", TIERS)
def test_world_questions_are_solved_by_their_hops(tier: str) -> None:
    """Each query finds its passage with BM25, and stands in the question or in what was found before."""
    for world in both(tier):
        index, text_of = Bm25(world.passages), texts(world)
        hops = [hop for question in world.questions for hop in question.hops]
        found = index.search([hop.query for hop in hops], TOPK)
        missed = [h for h, ps in zip(hops, found, strict=True) if h.passage not in [p.id for p in ps]]
        assert missed == []
        for question in world.questions:
            assert tuple(hop.passage for hop in question.hops) == question.supporting
            known = question.question
            for hop in question.hops:
                assert hop.query in known, question
                known += text_of[hop.passage]


@pytest.mark.parametrize("tier", TIERS)
def test_world_answers_stand_in_the_last_passage(tier: str) -> None:
    """And not in the question; those to comparisons and yes/no questions have to be worked out."""
    for world in both(tier):
        for question in world.questions:
            if question.task_type.endswith("hop"):
                assert int(question.task_type[0]) == len(question.supporting) == len(set(question.supporting))
                assert told(world, question.golden_answers, question.supporting[-1]), question
                assert question.golden_answers[0] not in question.question
            else:
                assert len(set(question.supporting)) == 2


def test_world_comparisons_are_right() -> None:
    """By the years in the two passages; the answer is one of the two names, each as often."""
    text_of = {name: text for world in worlds("small", "train") for name, text in texts(world).items()}
    first, questions = 0, 0
    for question in asked("small", "train"):
        if question.task_type != "comparison":
            continue
        years = [
            int(next(iter(re.findall(r"\b1\d{3}\b", text_of[passage])))) for passage in question.supporting
        ]
        earlier = bool(re.search("earlier|older", question.question))
        right = question.hops[years.index(min(years) if earlier else max(years))]
        assert right.query in question.golden_answers, question
        first, questions = first + (right == question.hops[0]), questions + 1
    assert 0.45 < first / questions < 0.55


def test_world_yes_and_no_are_as_frequent() -> None:
    """To guess helps in half of the cases."""
    for tier in TIERS:
        for world in both(tier):
            answers = Counter(q.golden_answers for q in world.questions if q.task_type == "yes-no")
            assert set(answers) == {("yes",), ("no",)} and len(set(answers.values())) == 1


def test_world_task_types_take_turns() -> None:
    """Any ten questions in a row have all of them, the first ones of a set as well."""
    assert set(CYCLE) == set(TASK_TYPES)
    types = [question.task_type for question in asked("small", "test")]
    assert all(Counter(types[start : start + 10]) == Counter(CYCLE) for start in range(len(types) - 9))


def test_world_questions_bring_passages_along() -> None:
    """A fifth all that is needed, some only the first, some a wrong one that shares a word of the name."""
    title_of = {p.id: p.title for world in worlds("small", "train") for p in world.passages}
    kinds: Counter[str] = Counter()
    questions = asked("small", "train")
    for question in questions:
        given, needed = set(question.given), set(question.supporting)
        assert len(given) == len(question.given)
        if needed <= given:
            kinds["all"] += 1
        elif given and given <= needed:
            kinds["first"] += 1
            assert question.given == question.supporting[:1]
        elif given:
            kinds["wrong"] += 1
            (name,), first = question.given, question.supporting[0]
            assert set(title_of[name].split()) & set(title_of[first].split()), question
    shares = {kind: count / len(questions) for kind, count in kinds.items()}
    assert shares == pytest.approx({"all": 0.2, "first": 0.06, "wrong": 0.05}, abs=0.015)


def test_world_names_are_shared_in_part_but_not_in_full() -> None:
    """Every person has namesakes by first and last name; only works of two kinds may have one title."""
    world = encyclopedia()
    people = Counter(part for person in world.of_kind("person") for part in person.name.split())
    assert min(people.values()) > 1
    once = [entity.name for entity in world.entities if entity.kind != "work"]
    assert len(set(once)) == len(once)
    titles = [(work.label, work.name) for work in world.of_kind("work")]
    assert len(set(titles)) == len(titles)
    assert 30 < len(titles) - len({name for _, name in titles}) < 150


def test_world_facts_make_sense() -> None:
    """Capitals lie in their countries, teachers are older, nobody founds or writes anything as a child."""
    world = encyclopedia()
    assert {entity.kind for entity in world.entities} == set(KINDS)
    assert [entity.number for entity in world.entities] == list(range(len(world.entities)))
    for country in world.of_kind("country"):
        assert world.linked(country, "capital").links["country"] == country.number
    married: Counter[int] = Counter()
    for person in world.of_kind("person"):
        if "teacher" in person.links:
            assert world.linked(person, "teacher").year <= person.year - 10
        if "spouse" in person.links:
            assert abs(world.linked(person, "spouse").year - person.year) <= 12
            married.update([person.number, person.links["spouse"]])
    assert max(married.values()) == 1
    for entity in (*world.of_kind("company"), *world.of_kind("work")):
        maker = world.linked(entity, "founder" if entity.kind == "company" else "creator")
        assert 22 <= entity.year - maker.year <= 48


def test_world_passages_tell_every_fact_once() -> None:
    """Each property and link of an entity is told in its opening or in a sentence, and can be asked for."""
    for entity in encyclopedia().entities:
        facts = {*entity.values, *entity.links}
        opening, patterns = OPENINGS[entity.kind]
        assert facts <= {*opening, *SENTENCES[entity.kind]} and set(opening) <= facts
        assert facts - {"year"} <= ASKING.keys()
        assert all("{name}" in pattern for pattern in patterns)
    for kind, sentences in SENTENCES.items():
        for fact, patterns in sentences.items():
            assert all(f"{{{fact}}}" in pattern for pattern in patterns), (kind, fact)


def test_world_passages_are_short_and_varied() -> None:
    """Of a size that a tiny model can read; no sentence pattern is left out."""
    lengths = [len(text.split()) for world in worlds("small", "test") for text in texts(world).values()]
    assert max(lengths) < 60 and 25 < sum(lengths) / len(lengths) < 40
    long = [len(text.split()) for text in texts(make_world("full", "test")).values()]
    assert max(long) < 100 and sum(long) / len(long) > 1.5 * sum(lengths) / len(lengths)
    everything = "\n".join(texts(make_world("full", "test")).values())
    patterns = [p for kind in SENTENCES.values() for several in kind.values() for p in several]
    for pattern in (*patterns, *(p for several in ASIDES.values() for p in several)):
        fixed = max(re.split(r"{\w+}", pattern), key=len).strip(" .")
        assert fixed.lower() in everything.lower(), pattern
    assert "{" not in everything and "  " not in everything


def test_world_sentences_are_whole() -> None:
    """Every one begins with a capital and ends with a full stop."""
    for passage in make_world("full", "train").passages:
        for sentence in re.split(r"(?<=\.) ", passage.text):
            assert re.fullmatch(r"[A-Z][^.]+\.", sentence), passage
    for question in asked("small", "train"):
        assert re.fullmatch(r"[A-Z][^?]+\?", question.question), question


def test_world_that_is_not_there_is_refused() -> None:
    """The error names what there is."""
    for tier, split in (("huge", "train"), ("small", "valid")):
        with pytest.raises(ValueError, match="give a tier of tiny, small, full and a split of train, test"):
            make_world(tier, split)
    with pytest.raises(ValueError, match="no world 5 of tier 'tiny' and split 'test': there are 0 to 4"):
        make_world("tiny", "test", 5)


def test_world_that_is_too_small_for_its_questions_says_so() -> None:
    """Rather than search for ever."""
    world = draw_encyclopedia(Dice("f"), Names(Dice("n"), "train", 0.1), dict.fromkeys(KINDS, 2))
    with pytest.raises(ValueError, match=r"no new .* question in 1000 tries"):
        draw_questions(world, Dice("q"), "x", [entity.name for entity in world.entities], 10_000)
