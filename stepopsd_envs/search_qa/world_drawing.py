"""Draw a synthetic world: first its entities with names, years and properties, then their relations."""

from collections.abc import Mapping, Sequence
from itertools import count

from stepopsd_envs.search_qa import world_words as words
from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_facts import Encyclopedia, Entity
from stepopsd_envs.search_qa.world_names import Names

FOUNDED_DECADES = (120, 180)  # foundation of cities, year / 10
BIRTH_YEARS = (1850, 1950)
FIRST_DEED = (22, 48)  # age of a person who founds a company or creates a work
SPOUSE_YEARS, TEACHER_YEARS = 12, 10  # greatest and least number of years between the births
EMPLOYED, TAUGHT, MARRIED, SHARED_TITLE = 0.6, 0.7, 0.7, 0.15  # probabilities


def draw_encyclopedia(dice: Dice, names: Names, counts: Mapping[str, int]) -> Encyclopedia:
    """Draw a world with ``counts`` entities of each kind. Every country gets at least one city."""
    numbers = count()
    rivers = [names.river() for _ in range(max(2, counts["city"] // 5))]
    countries = [_country(next(numbers), names) for _ in range(counts["country"])]
    cities = [_city(next(numbers), dice, names, rivers) for _ in range(counts["city"])]
    people = [_person(next(numbers), dice, names) for _ in range(counts["person"])]
    companies = [_company(next(numbers), dice, names, people) for _ in range(counts["company"])]
    works: list[Entity] = []
    for _ in range(counts["work"]):
        works.append(_work(next(numbers), dice, names, people, works))
    _link_places(dice, countries, cities, people)
    _link_people(dice, cities, people, companies)
    for entity in (*companies, *works):
        entity.links["headquarters" if entity.kind == "company" else "setting"] = dice.pick(cities).number
    for work in works:
        work.links["backer"] = dice.pick(companies).number
    return Encyclopedia((*countries, *cities, *people, *companies, *works))


def _country(number: int, names: Names) -> Entity:
    return Entity(number, "country", names.country(), values={"currency": names.currency()})


def _city(number: int, dice: Dice, names: Names, rivers: Sequence[str]) -> Entity:
    values = {"year": str(10 * dice.number(*FOUNDED_DECADES)), "river": dice.pick(rivers)}
    return Entity(number, "city", names.city(), values=values)


def _person(number: int, dice: Dice, names: Names) -> Entity:
    first, last, woman = names.person()
    values = {"year": str(dice.number(*BIRTH_YEARS)), "occupation": dice.pick(words.OCCUPATIONS)}
    return Entity(number, "person", f"{first} {last}", last=last, woman=woman, values=values)


def _company(number: int, dice: Dice, names: Names, people: Sequence[Entity]) -> Entity:
    founder = dice.pick(people)
    name, short = names.company()
    values = {"year": str(founder.year + dice.number(*FIRST_DEED)), "product": dice.pick(words.PRODUCTS)}
    return Entity(number, "company", name, short=short, values=values, links={"founder": founder.number})


def _work(number: int, dice: Dice, names: Names, people: Sequence[Entity], works: Sequence[Entity]) -> Entity:
    """Draw a work with a new title or, with probability SHARED_TITLE, that of a work with another label."""
    creator, label = dice.pick(people), dice.pick(words.WORK_LABELS)
    title = names.title()
    if works and dice.chance(SHARED_TITLE):
        other = dice.pick(works)
        bearers = [work for work in works if work.name == other.name]
        title = other.name if len(bearers) == 1 and other.label != label else title
    values = {"year": str(creator.year + dice.number(*FIRST_DEED))}
    return Entity(number, "work", title, label=label, values=values, links={"creator": creator.number})


def _link_places(
    dice: Dice, countries: Sequence[Entity], cities: Sequence[Entity], people: Sequence[Entity]
) -> None:
    for place, city in enumerate(cities):
        country = countries[place] if place < len(countries) else dice.pick(countries)
        city.links["country"] = country.number
        city.links["mayor"] = dice.pick(people).number
    for country in countries:
        its_cities = [city for city in cities if city.links["country"] == country.number]
        country.links["capital"] = dice.pick(its_cities).number


def _link_people(
    dice: Dice, cities: Sequence[Entity], people: Sequence[Entity], companies: Sequence[Entity]
) -> None:
    for person in people:
        person.links["birthplace"] = dice.pick(cities).number
        teacher, employer = dice.pick(people), dice.pick(companies)
        if dice.chance(TAUGHT) and teacher.year + TEACHER_YEARS <= person.year:
            person.links["teacher"] = teacher.number
        if dice.chance(EMPLOYED) and employer.year <= person.year + max(FIRST_DEED):
            person.links["employer"] = employer.number
    by_decade = sorted(dice.shuffled(people), key=lambda person: person.year // 10)
    for person, spouse in zip(by_decade[::2], by_decade[1::2], strict=False):
        # Only one of the two gets the link, since each fact must be in a single passage.
        if dice.chance(MARRIED) and abs(person.year - spouse.year) <= SPOUSE_YEARS:
            person.links["spouse"] = spouse.number
