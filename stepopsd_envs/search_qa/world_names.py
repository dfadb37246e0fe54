"""Names in the synthetic worlds: pairs of words, each pair in one split only.

The hash of a pair determines its split, in every tier. So no full name of a training world occurs in a test
world, but the words do: a model trained on one split can read the other.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import product
from typing import NamedTuple

from stepopsd_envs.search_qa import world_words as words
from stepopsd_envs.search_qa.world_dice import Dice

SPLITS = ("train", "test")


class PersonName(NamedTuple):
    """Name of a person, and whether the person is a woman, which decides the pronouns."""

    first: str
    last: str
    woman: bool


class Names:
    """A supply of names of a tier and split, each given out once.

    Args:
        dice: determines the order.
        split: one of ``SPLITS``.
        share: share of each list of words that the tier uses.
        own: share of these words that this world uses; with fewer words, more of its names share a word.
    """

    def __init__(self, dice: Dice, split: str, share: float, own: float = 1.0) -> None:
        self._dice, self._split, self._share, self._own = dice, split, share, own
        self._people = self._pairs(
            "person", [*self._some(words.WOMEN), *self._some(words.MEN)], self._some(words.SURNAMES)
        )
        self._cities = self._pairs("city", words.CITY_FORMS, self._some(words.CITY_STEMS))
        self._countries = self._pairs("country", words.COUNTRY_FORMS, self._some(words.COUNTRY_STEMS))
        self._rivers = self._pairs("river", words.RIVER_FORMS, self._some(words.RIVER_STEMS))
        self._coins = self._pairs("coin", words.COIN_METALS, words.COINS)
        self._companies = self._pairs(
            "company", self._some(words.COMPANY_FIRSTS), self._some(words.COMPANY_SECONDS)
        )
        self._titles = self._pairs("title", self._some(words.TITLE_FIRSTS), self._some(words.TITLE_SECONDS))

    def person(self) -> PersonName:
        """The next name of a person, such as Mira Kesvane."""
        first, last = next(self._people)
        return PersonName(first, last, first in words.WOMEN)

    def city(self) -> str:
        """The next name of a city, such as Port Kirra."""
        return _formed(self._cities)

    def country(self) -> str:
        """The next name of a country, such as Outer Velnia."""
        return _formed(self._countries)

    def river(self) -> str:
        """The next name of a river, such as Black Oskel."""
        return _formed(self._rivers)

    def currency(self) -> str:
        """The next name of a currency, such as silver crown."""
        return " ".join(next(self._coins))

    def company(self) -> tuple[str, str]:
        """The next name of a company, such as Copper Heron Works, with its short form."""
        short = " ".join(next(self._companies))
        return f"{short} {self._dice.pick(words.COMPANY_FORMS)}", short

    def title(self) -> str:
        """The next title of a work, such as The Silent Lighthouse."""
        return self._dice.pick(words.TITLE_FORMS).format(*next(self._titles))

    def _some(self, listed: Sequence[str]) -> list[str]:
        """The tier's share of the words, evenly spread, and of these a random share for this world."""
        count = max(2, round(self._share * len(listed)))
        spread = [listed[place * len(listed) // count] for place in range(count)]
        return self._dice.shuffled(spread)[: max(2, round(self._own * count))]

    def _pairs(self, kind: str, firsts: Sequence[str], seconds: Sequence[str]) -> Iterator[tuple[str, str]]:
        pairs = [pair for pair in product(firsts, seconds) if _split_of(kind, *pair) == self._split]
        return iter(_covering(self._dice.shuffled(pairs)))


def _covering(pairs: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs in an order in which every word occurs early, so that each world uses all words."""
    times: Counter[tuple[int, str]] = Counter()
    rounds = []
    for first, second in pairs:
        rounds.append(min(times[0, first], times[1, second]))
        times.update([(0, first), (1, second)])
    return [pairs[place] for place in sorted(range(len(pairs)), key=rounds.__getitem__)]


def _split_of(kind: str, first: str, second: str) -> str:
    digest = blake2b(f"{kind}: {first} {second}".encode(), digest_size=1).digest()
    return SPLITS[digest[0] % 2]


def _formed(pairs: Iterator[tuple[str, str]]) -> str:
    form, stem = next(pairs)
    return form.format(stem)
