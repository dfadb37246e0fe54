"""A synthetic world: what can be relied on, whatever the dice say."""

import re
from collections import Counter
from functools import lru_cache

import pytest

from stepopsd_envs.search_qa.questions import canonical
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.scoring import normalize_answer
from stepopsd_envs.search_qa.world import SIZES, TASK_TYPES, TIERS, World, make_world
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_drawing import draw_encyclopedia
from stepopsd_envs.search_qa.world_facts import KINDS, Encyclopedia
from stepopsd_envs.search_qa.world_names import Names
from stepopsd_envs.search_qa.world_passages import ASIDES, OPENINGS, SENTENCES
from stepopsd_envs.search_qa.world_questions import CYCLE, draw_questions
from stepopsd_envs.search_qa.world_wording import ASKING
from tests.helpers.worlds import asked, both, texts, worlds

TOPK = 3  # of the environment
COUNTS = {"country": 24, "city": 150, "person": 900, "company": 300, "work": 640}


def told(world: World, answers: tuple[str, ...], passage: str) -> bool:
    """Whether a passage has one of the answers in it."""
    text = f" {normalize_answer(texts(world)[passage])} "
    return any(f" {normalize_answer(answer)} " in text for answer in answers)


@lru_cache
def encyclopedia() -> Encyclopedia:
    """A world of facts."""
    return draw_encyclopedia(Dice("facts"), Names(Dice("names"), "train", 0.4), COUNTS)


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


def test_world_that_is_too_small_for_its_questions_says_so() -> None:
    """Rather than search for ever."""
    world = draw_encyclopedia(Dice("f"), Names(Dice("n"), "train", 0.1), dict.fromkeys(KINDS, 2))
    with pytest.raises(ValueError, match=r"no new .* question in 1000 tries"):
        draw_questions(world, Dice("q"), "x", [entity.name for entity in world.entities], 10_000)
