"""What is true in a synthetic world: entities, their properties and how they are related.

Each fact stands in the passage of the entity that has it and nowhere else, so it is known which passage
answers a question. Every property and relation has one value, so an answer is unique.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

KINDS = ("country", "city", "person", "company", "work")


@dataclass(frozen=True, slots=True)
class Entity:
    """Somebody or something that a passage is about.

    Attributes:
        number: place in the encyclopedia.
        kind: one of ``KINDS``.
        name: in full; only works with different labels may share one.
        label: novel, film, ... for a work, else empty.
        short: a shorter name that is as clear, or empty.
        last: surname of a person.
        woman: whether a person is one.
        values: properties with their values, as they are written.
        links: relations with the numbers of the entities they lead to.
    """

    number: int
    kind: str
    name: str
    label: str = ""
    short: str = ""
    last: str = ""
    woman: bool = False
    values: dict[str, str] = field(default_factory=dict)
    links: dict[str, int] = field(default_factory=dict)

    @property
    def year(self) -> int:
        """Of birth, foundation or appearance; only countries have none."""
        return int(self.values["year"])

    @property
    def mention(self) -> str:
        """How a text names it."""
        return f"the {self.query}" if self.label else self.name

    @property
    def query(self) -> str:
        """What to search for to find its passage: words as they stand in its mention."""
        return f"{self.label} {self.name}" if self.label else self.name

    @property
    def answers(self) -> tuple[str, ...]:
        """It as an answer: its name, then others that are as good."""
        return tuple(dict.fromkeys(filter(None, (self.name, self.query, self.short))))


@dataclass(frozen=True)
class Encyclopedia:
    """All entities by number."""

    entities: tuple[Entity, ...]

    def of_kind(self, kind: str) -> Sequence[Entity]:
        """The entities of a kind."""
        return self._by_kind[kind]

    def linked(self, entity: Entity, relation: str) -> Entity:
        """The entity that a link leads to."""
        return self.entities[entity.links[relation]]

    def namesakes(self, entity: Entity) -> list[Entity]:
        """Others of its kind that share a word of its name."""
        lists = [self._by_word[entity.kind, word] for word in _words(entity.name)]
        found = {other.number for others in lists for other in others} - {entity.number}
        return [self.entities[number] for number in sorted(found)]

    @cached_property
    def _by_kind(self) -> Mapping[str, tuple[Entity, ...]]:
        return {kind: tuple(e for e in self.entities if e.kind == kind) for kind in KINDS}

    @cached_property
    def _by_word(self) -> Mapping[tuple[str, str], list[Entity]]:
        found: dict[tuple[str, str], list[Entity]] = {}
        for entity in self.entities:
            for word in _words(entity.name):
                found.setdefault((entity.kind, word), []).append(entity)
        return found


def _words(name: str) -> list[str]:
    return name.removeprefix("The ").split()
