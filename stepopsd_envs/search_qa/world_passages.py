"""Write the encyclopedia: a passage for each entity, from sentence templates.

The first sentence names the entity and states some of its facts; each other fact gets a sentence, in random
order. Asides mention other entities in ways that no question is about, so that a passage has more names than
the one in demand.
"""

import re
from collections.abc import Mapping, Sequence

from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_facts import Encyclopedia, Entity
from stepopsd_envs.search_qa.world_wording import MAKING

# Facts in the first sentence, and its templates.
OPENINGS: Mapping[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "person": (
        ("birthplace", "year", "occupation"),
        (
            "{name}, {an_occupation}, was born in {birthplace} in {year}.",
            "Born in {birthplace} in {year}, {name} works as {an_occupation}.",
            "{name} was born in {year} in {birthplace} and became {an_occupation}.",
            "{name} is {an_occupation} who was born in {birthplace} in {year}.",
            "The {occupation} {name} comes from {birthplace}, where {they} was born in {year}.",
            "It was in {birthplace} that {name}, {an_occupation}, was born in {year}.",
        ),
    ),
    "city": (
        ("country",),
        (
            "{name} is a city in {country}.",
            "{name} lies in {country}.",
            "The city of {name} belongs to {country}.",
            "{name} is one of the cities of {country}.",
        ),
    ),
    "country": (
        ("capital",),
        (
            "{name} is a country with {capital} as its capital.",
            "The capital of {name} is {capital}.",
            "{name} is a country that is governed from its capital, {capital}.",
        ),
    ),
    "company": (
        ("headquarters", "product"),
        (
            "{name} is a company in {headquarters} that makes {product}.",
            "Based in {headquarters}, {name} makes {product}.",
            "{name}, which has its head office in {headquarters}, produces {product}.",
            "The {product} of {name} are made at its head office in {headquarters}.",
        ),
    ),
    "work": (
        ("creator",),
        (
            "{name} is {a_label} by {creator}.",
            "The {label} {name} was {made} by {creator}.",
            "{creator} {did} the {label} {name}.",
            "{name} is {a_label} that {creator} {did}.",
        ),
    ),
}
# Templates of the sentences for all other facts.
SENTENCES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "person": {
        "spouse": (
            "{They} is married to {spouse}.",
            "{last} married {spouse}.",
            "{Their} spouse is {spouse}.",
            "{They} shares a house with {spouse}, to whom {they} is married.",
        ),
        "teacher": (
            "{They} was taught by {teacher}.",
            "{teacher} was {their} teacher.",
            "{They} was a pupil of {teacher}.",
            "{They} learned the trade from {teacher}, {their} teacher.",
        ),
        "employer": (
            "{They} works for {employer}.",
            "{last} is employed by {employer}.",
            "{Their} employer is {employer}.",
            "{They} earns a living at {employer}.",
        ),
    },
    "city": {
        "year": (
            "It was founded in {year}.",
            "Settlers founded it in {year}.",
            "The year of its foundation is {year}.",
            "Since it was founded in {year} it has burned down twice.",
        ),
        "river": (
            "It lies on the {river}.",
            "The river {river} flows through it.",
            "It was built on the banks of the {river}.",
            "Two bridges cross the {river} here.",
        ),
        "mayor": (
            "Its mayor is {mayor}.",
            "{mayor} is the mayor.",
            "The office of mayor is held by {mayor}.",
            "The people made {mayor} their mayor.",
        ),
    },
    "country": {
        "currency": (
            "Its currency is the {currency}.",
            "People pay with the {currency}.",
            "Its money is called the {currency}.",
        )
    },
    "company": {
        "founder": (
            "It was founded by {founder}.",
            "Its founder is {founder}.",
            "{founder} is the founder.",
            "{founder} founded the company with borrowed money.",
        ),
        "year": (
            "It was founded in {year}.",
            "The company was founded in {year}.",
            "It has been in business since its foundation in {year}.",
        ),
    },
    "work": {
        "year": (
            "It came out in {year}.",
            "It first appeared in {year}.",
            "It dates from {year}.",
            "It became known to the public in {year}.",
        ),
        "setting": (
            "The story is set in {setting}.",
            "It takes place in {setting}.",
            "Its story takes place in {setting}.",
            "It is set in {setting}.",
        ),
        "backer": (
            "It was paid for by {backer}.",
            "{backer} paid for it.",
            "The money came from {backer}, which paid for it.",
            "It was made at the expense of {backer}.",
        ),
    },
}
# {city}, {person} and so on stand for another entity of that kind, {other} for one of the same kind.
ASIDES: Mapping[str, tuple[str, ...]] = {
    "person": (
        "{They} once spent a summer in {city}.",
        "{other} is a friend of {theirs}.",
        "{last} collects stamps and postcards of {city}.",
        "{They} cannot stand {work}.",
        "In winter {they} likes to walk for hours.",
        "{last} is said to be patient and a little shy.",
        "{They} has owned the same coat for twenty years.",
        "For a wager {they} once rowed as far as {city}.",
    ),
    "city": (
        "Trains leave every hour for {other}.",
        "A street is named after {person}.",
        "Its harbour fair draws visitors from {other}.",
        "Most houses have red roofs and narrow gardens.",
        "In autumn there is fog until noon.",
        "{company} once had a warehouse here.",
        "The town hall clock is always four minutes late.",
    ),
    "country": (
        "It has a long border with {other}.",
        "Its stamps show {person}.",
        "Most people live near the coast.",
        "Its trains are known to be on time.",
        "Apples and barley grow well there.",
    ),
    "company": (
        "It lost a lawsuit against {other}.",
        "It keeps a warehouse in {city}.",
        "{person} is among its customers.",
        "Every new clerk is given an umbrella.",
        "Its letters are still written by hand.",
        "A strike closed its gates for a month.",
    ),
    "work": (
        "Critics compared it with {other}.",
        "In {city} it was not liked.",
        "{person} called it too long.",
        "Its last scene is often quoted.",
        "It was finished in a great hurry.",
        "Few copies of the first version are left.",
    ),
}

_FIELD = re.compile(r"{(?:city|person|company|work|other)}")


def title(entity: Entity) -> str:
    """The title of an entity's passage: its name; for works with the label, since two may share a name."""
    return f"{entity.name} ({entity.label})" if entity.label else entity.name


def write(world: Encyclopedia, entity: Entity, dice: Dice, asides: tuple[int, int]) -> str:
    """The text of an entity's passage; ``asides`` is the least and greatest number of asides."""
    first_facts, openings = OPENINGS[entity.kind]
    words = _words(world, entity)
    facts = [fact for fact in SENTENCES[entity.kind] if fact in words and fact not in first_facts]
    rest = [dice.pick(SENTENCES[entity.kind][fact]) for fact in facts]
    rest += _asides(entity.kind, dice, dice.number(*asides))
    words |= _others(world, entity, dice)
    sentences = [dice.pick(openings), *dice.shuffled(rest)]
    return " ".join(_sentence(pattern, words) for pattern in sentences)


def with_article(noun: str) -> str:
    """The noun with its indefinite article: a painter, an architect."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def _sentence(pattern: str, words: Mapping[str, str]) -> str:
    text = pattern.format(**words)
    return text[0].upper() + text[1:]


def _words(world: Encyclopedia, entity: Entity) -> dict[str, str]:
    """Values for the fields of the templates: the facts, and the words that refer to the entity."""
    words = {"name": entity.name, "last": entity.last, "label": entity.label, **entity.values}
    words |= {relation: world.linked(entity, relation).mention for relation in entity.links}
    if entity.kind == "person":
        they, their, theirs = ("she", "her", "hers") if entity.woman else ("he", "his", "his")
        words |= {"they": they, "They": they.title(), "their": their, "Their": their.title()}
        words |= {"theirs": theirs, "an_occupation": with_article(entity.values["occupation"])}
    if entity.kind == "work":
        _, did, made = MAKING[entity.label]
        words |= {"did": did, "made": made, "a_label": with_article(entity.label)}
    return words


def _asides(kind: str, dice: Dice, count: int) -> list[str]:
    """Draw asides with different fields, so that no entity is mentioned twice."""
    chosen: list[str] = []
    for aside in dice.shuffled(ASIDES[kind]):
        if len(chosen) < count and not any(_FIELD.findall(aside) == _FIELD.findall(old) for old in chosen):
            chosen.append(aside)
    return chosen


def _others(world: Encyclopedia, entity: Entity, dice: Dice) -> dict[str, str]:
    """Draw entities to mention in asides, none of them related to ``entity``."""
    related = {entity.number, *entity.links.values()}
    kinds = {name: name for name in ("city", "person", "company", "work")} | {"other": entity.kind}
    return {name: _unrelated(world.of_kind(kind), related, dice).mention for name, kind in kinds.items()}


def _unrelated(entities: Sequence[Entity], related: set[int], dice: Dice) -> Entity:
    """Draw an entity that is not in ``related``, or any if there is no such one."""
    first = dice.number(0, len(entities) - 1)
    from_first = (entities[(first + step) % len(entities)] for step in range(len(entities)))
    return next((entity for entity in from_first if entity.number not in related), entities[first])
