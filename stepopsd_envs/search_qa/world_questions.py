"""Questions about a synthetic world, each with its answers and the searches that lead to them.

A chain begins at an entity and follows its relations: "Where was the founder of Copper Heron Works born?"
goes from the company to a person to a city, and needs the passages of the first two. Comparisons and half of
the yes/no questions need the passages of two entities that the question names. The query of a hop is the name
of an entity, which stands in the question or in the passage of the hop before.
"""

from collections.abc import Sequence

from stepopsd_envs.search_qa.questions import Hop, Question
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_facts import Encyclopedia, Entity
from stepopsd_envs.search_qa.world_wording import CHECKING, COMPARING, SHARING, ask, phrase

TASK_TYPES = ("1-hop", "2-hop", "3-hop", "4-hop", "comparison", "yes-no")
CYCLE = (
    *("1-hop", "2-hop", "1-hop", "comparison", "1-hop"),
    *("3-hop", "2-hop", "yes-no", "1-hop", "4-hop"),
)
"""The task types of any ten questions in a row; 1-hop is frequent, as it is what a tiny model can learn."""
GIVEN_ALL, GIVEN_FIRST, GIVEN_MISLEADING = 0.2, 0.1, 0.05  # chances
MAX_TRIES = 1_000
STARTS = ("work", "work", "work", "person", "person", "person", "company", "company", "city", "country")
NAMESAKES = 0.5  # chance that a comparison is between entities that share a word of their names

Draft = tuple[str, tuple[str, ...], list[Entity]]  # the question, its answers, and whose passages it needs


def draw_questions(
    world: Encyclopedia, dice: Dice, prefix: str, passage_ids: Sequence[str], count: int
) -> tuple[Question, ...]:
    """Draw questions, no two alike, with ids ``<prefix>/<number>``; passage ids are by entity number."""
    asked: set[str] = set()
    questions = []
    for number in range(count):
        task_type = CYCLE[number % len(CYCLE)]
        yes = number // len(CYCLE) % 2 == 0  # for exactly half of the questions that ask for yes or no
        text, answers, needed = _draft(world, dice, task_type, yes, asked)
        asked.add(text)
        ids = tuple(passage_ids[entity.number] for entity in needed)
        questions.append(
            Question(
                id=question_id(prefix, number),
                question=text,
                golden_answers=answers,
                supporting=ids,
                task_type=task_type,
                given=tuple(passage_ids[entity.number] for entity in _given(world, dice, needed)),
                hops=tuple(Hop(e.query, name) for e, name in zip(needed, ids, strict=True)),
            )
        )
    return tuple(questions)


def question_id(prefix: str, number: int) -> str:
    """The id of a question of a world."""
    return f"{prefix}/{number:05d}"


def _draft(world: Encyclopedia, dice: Dice, task_type: str, yes: bool, asked: set[str]) -> Draft:
    for _ in range(MAX_TRIES):
        draft = _try(world, dice, task_type, yes)
        if draft is not None and draft[0] not in asked:
            return draft
    raise ValueError(f"no new {task_type} question in {MAX_TRIES} tries: ask for fewer, or of a larger world")


def _try(world: Encyclopedia, dice: Dice, task_type: str, yes: bool) -> Draft | None:
    """A question of a type; None where what was drawn does not allow one."""
    if task_type == "comparison":
        return _comparison(world, dice)
    if task_type == "yes-no":
        return _sharing(world, dice, yes) if dice.chance(0.5) else _check(world, dice, yes)
    return _chain(world, dice, hops=int(task_type[0]))


def _walk(world: Encyclopedia, dice: Dice, length: int) -> tuple[list[Entity], str] | None:
    """Entities along ``length - 1`` links, none of them twice, and how the last is spoken of."""
    entity = dice.pick(world.of_kind(dice.pick(STARTS)))
    path, x = [entity], entity.mention
    while len(path) < length:
        relations = [r for r in entity.links if world.linked(entity, r) not in path]
        if not relations:
            return None
        relation = dice.pick(relations)
        x = phrase(dice, entity, relation, x)
        entity = world.linked(entity, relation)
        path.append(entity)
    return path, x


def _chain(world: Encyclopedia, dice: Dice, hops: int) -> Draft | None:
    walked = _walk(world, dice, hops)
    if walked is None:
        return None
    path, x = walked
    last = path[-1]
    fact = dice.pick([*last.values, *last.links])
    if fact in last.links and world.linked(last, fact) in path:
        return None
    return ask(dice, last, fact, x), _answers(world, last, fact), path


def _answers(world: Encyclopedia, entity: Entity, fact: str) -> tuple[str, ...]:
    if fact in entity.links:
        return world.linked(entity, fact).answers
    value = entity.values[fact]
    return (value, f"{value} River", f"River {value}") if fact == "river" else (value,)


def _pair(world: Encyclopedia, dice: Dice, kind: str) -> tuple[Entity, Entity] | None:
    """Two entities of a kind, often namesakes, never of the same name."""
    one = dice.pick(world.of_kind(kind))
    others = world.namesakes(one) if dice.chance(NAMESAKES) else world.of_kind(kind)
    other = dice.pick(others or world.of_kind(kind))
    return None if one.name == other.name else (one, other)


def _comparison(world: Encyclopedia, dice: Dice) -> Draft | None:
    kind = dice.pick(list(COMPARING))
    pair = _pair(world, dice, kind)
    if pair is None or pair[0].year == pair[1].year:
        return None
    pattern, earlier = dice.pick(COMPARING[kind])
    ordered = sorted(pair, key=lambda entity: entity.year)
    text = pattern.format(x=pair[0].mention, y=pair[1].mention)
    return text, ordered[0 if earlier else 1].answers, list(pair)


def _sharing(world: Encyclopedia, dice: Dice, yes: bool) -> Draft | None:
    """Whether two entities have something in common."""
    kind, fact = dice.pick(list(SHARING))
    one = dice.pick([entity for entity in world.of_kind(kind) if _fact(entity, fact)])
    others = [
        entity
        for entity in world.of_kind(kind)
        if _fact(entity, fact) and (_fact(entity, fact) == _fact(one, fact)) == yes
    ]
    others = [entity for entity in others if entity.name != one.name]
    if not others:
        return None
    other = dice.pick(others)
    text = dice.pick(SHARING[kind, fact]).format(x=one.mention, y=other.mention)
    return text, ("yes" if yes else "no",), [one, other]


def _fact(entity: Entity, fact: str) -> str | int | None:
    return entity.values.get(fact, entity.links.get(fact))


def _check(world: Encyclopedia, dice: Dice, yes: bool) -> Draft | None:
    """Whether a chain of two hops ends where the question says."""
    walked = _walk(world, dice, length=2)
    if walked is None:
        return None
    path, x = walked
    relations = [relation for relation in path[-1].links if relation in CHECKING]
    if not relations:
        return None
    relation = dice.pick(relations)
    target = world.linked(path[-1], relation)
    named = target if yes else dice.pick(world.of_kind(target.kind))
    if named in path or (named == target) != yes:
        return None
    text = dice.pick(CHECKING[relation]).format(x=x, y=named.mention)
    return text, ("yes" if yes else "no",), path


def _given(world: Encyclopedia, dice: Dice, needed: Sequence[Entity]) -> list[Entity]:
    """Whose passages come with the question: all that are needed, the first of several, a wrong one, none."""
    chance = dice.number(0, 99) / 100
    if chance < GIVEN_ALL:
        return dice.shuffled(needed)
    if chance < GIVEN_ALL + GIVEN_FIRST:
        return list(needed[:1]) if len(needed) > 1 else []
    if chance < GIVEN_ALL + GIVEN_FIRST + GIVEN_MISLEADING:
        others = [entity for entity in world.namesakes(needed[0]) if entity not in needed]
        return [dice.pick(others)] if others else []
    return []
