"""Questions about a synthetic world, with their answers and the searches that lead to them.

A chain begins at an entity and follows its relations: "Where was the founder of Copper Heron Works born?"
goes from the company to a person to a city, and needs the passages of the first two. Comparisons and half of
the yes/no questions need the passages of the two entities in the question. The query of a hop is the name of
an entity, which occurs in the question or in the passage of the previous hop.
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
"""The task types of ten successive questions; 1-hop is frequent, since a tiny model can learn it."""
GIVEN_ALL, GIVEN_FIRST, GIVEN_MISLEADING = 0.2, 0.1, 0.05  # probabilities
MAX_TRIES = 1_000
STARTS = ("work", "work", "work", "person", "person", "person", "company", "company", "city", "country")
NAMESAKES = 0.5  # probability that a comparison is between entities whose names share a word

Draft = tuple[str, tuple[str, ...], list[Entity]]  # question, answers, entities of the gold passages


def draw_questions(
    world: Encyclopedia, dice: Dice, prefix: str, passage_ids: Sequence[str], count: int
) -> tuple[Question, ...]:
    """Draw different questions with ids ``<prefix>/<number>``.

    Args:
        world: the facts.
        dice: the generator.
        prefix: prefix of the ids.
        passage_ids: id of each entity's passage, by entity number.
        count: number of questions.

    Raises:
        ValueError: the world is too small for so many different questions.
    """
    asked: set[str] = set()
    questions = []
    for number in range(count):
        task_type = CYCLE[number % len(CYCLE)]
        yes = number // len(CYCLE) % 2 == 0  # exactly half of the yes/no questions have the answer yes
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
    raise ValueError(
        f"no new {task_type} question in {MAX_TRIES} tries: ask for fewer questions, or use a larger world"
    )


def _try(world: Encyclopedia, dice: Dice, task_type: str, yes: bool) -> Draft | None:
    """Draw a question of a type; None if the drawn entities do not allow one."""
    if task_type == "comparison":
        return _comparison(world, dice)
    if task_type == "yes-no":
        return _sharing(world, dice, yes) if dice.chance(0.5) else _check(world, dice, yes)
    return _chain(world, dice, hops=int(task_type[0]))


def _walk(world: Encyclopedia, dice: Dice, length: int) -> tuple[list[Entity], str] | None:
    """Draw a path of ``length`` different entities along relations, and the phrase for the last one."""
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
    """Draw two entities of a kind, often namesakes, never with the same name."""
    first = dice.pick(world.of_kind(kind))
    others = world.namesakes(first) if dice.chance(NAMESAKES) else world.of_kind(kind)
    second = dice.pick(others or world.of_kind(kind))
    return None if first.name == second.name else (first, second)


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
    """Draw a question whether two entities have a fact in common."""
    kind, fact = dice.pick(list(SHARING))
    first = dice.pick([entity for entity in world.of_kind(kind) if _fact(entity, fact)])
    others = [
        entity
        for entity in world.of_kind(kind)
        if _fact(entity, fact) and (_fact(entity, fact) == _fact(first, fact)) == yes
    ]
    others = [entity for entity in others if entity.name != first.name]
    if not others:
        return None
    second = dice.pick(others)
    text = dice.pick(SHARING[kind, fact]).format(x=first.mention, y=second.mention)
    return text, ("yes" if yes else "no",), [first, second]


def _fact(entity: Entity, fact: str) -> str | int | None:
    return entity.values.get(fact, entity.links.get(fact))


def _check(world: Encyclopedia, dice: Dice, yes: bool) -> Draft | None:
    """Draw a question whether a chain of two hops ends at the named entity."""
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
    """Draw the entities whose passages are given: all needed, the first of several, a wrong one, or none."""
    chance = dice.number(0, 99) / 100
    if chance < GIVEN_ALL:
        return dice.shuffled(needed)
    if chance < GIVEN_ALL + GIVEN_FIRST:
        return list(needed[:1]) if len(needed) > 1 else []
    if chance < GIVEN_ALL + GIVEN_FIRST + GIVEN_MISLEADING:
        others = [entity for entity in world.namesakes(needed[0]) if entity not in needed]
        return [dice.pick(others)] if others else []
    return []
