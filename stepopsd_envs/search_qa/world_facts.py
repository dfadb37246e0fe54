"""The facts of a synthetic world: entities, their properties and their relations.

Each fact is stated only in the passage of its entity, so the gold passages of a question are known. Every
property and relation has one value, so answers are unique.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

KINDS = ("country", "city", "person", "company", "work")


@dataclass(frozen=True, slots=True)
class Entity:
    """The subject of a passage.

    Attributes:
        number: index in the encyclopedia.
        kind: one of ``KINDS``.
        name: full name; only works with different labels may share a name.
        label: novel, film, ... for a work, else empty.
        short: a shorter unambiguous name, or empty.
        last: surname of a person.
        woman: whether a person is a woman.
        values: properties with their values, as written in texts.
        links: relations with the number of the related entity.
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
        """Year of birth, foundation or publication; countries have none."""
        return int(self.values["year"])

    @property
    def mention(self) -> str:
        """The name as used in texts."""
        return f"the {self.query}" if self.label else self.name

    @property
    def query(self) -> str:
        """The query that finds its passage, in the words of its mention."""
        return f"{self.label} {self.name}" if self.label else self.name

    @property
    def answers(self) -> tuple[str, ...]:
        """Accepted answers: its name first, then equivalent ones."""
        return tuple(dict.fromkeys(filter(None, (self.name, self.query, self.short))))


@dataclass(frozen=True)
class Encyclopedia:
    """All entities of a world, indexed by number."""

    entities: tuple[Entity, ...]

    def of_kind(self, kind: str) -> Sequence[Entity]:
        """The entities of a kind."""
        return self._by_kind[kind]

    def linked(self, entity: Entity, relation: str) -> Entity:
        """The entity at the other end of a relation."""
        return self.entities[entity.links[relation]]

    def namesakes(self, entity: Entity) -> list[Entity]:
        """Other entities of its kind whose names share a word with its name."""
        lists = [self._by_word[entity.kind, word] for word in _words(entity.name)]
        numbers = {other.number for others in lists for other in others} - {entity.number}
        return [self.entities[number] for number in sorted(numbers)]

    @cached_property
    def _by_kind(self) -> Mapping[str, tuple[Entity, ...]]:
        return {kind: tuple(e for e in self.entities if e.kind == kind) for kind in KINDS}

    @cached_property
    def _by_word(self) -> Mapping[tuple[str, str], list[Entity]]:
        by_word: dict[tuple[str, str], list[Entity]] = {}
        for entity in self.entities:
            for word in _words(entity.name):
                by_word.setdefault((entity.kind, word), []).append(entity)
        return by_word


def _words(name: str) -> list[str]:
    return name.removeprefix("The ").split()
