"""The wording of questions: templates that ask for a property or relation, or refer to a related entity.

``{x}`` is a name or another phrase; ``{maker}``, ``{did}`` and ``{made}`` depend on the label of a work.
"""

from collections.abc import Mapping, Sequence

from stepopsd_envs.search_qa.world_dice import Dice
from stepopsd_envs.search_qa.world_facts import Entity

# "the teacher of Mira Kesvane": phrases for an entity by its relation to another. The first template suits
# any {x}, the others only names, since clauses within clauses are hard to read.
PHRASES: Mapping[str, Sequence[str]] = {
    "birthplace": ("the birthplace of {x}", "the city where {x} was born"),
    "spouse": ("the spouse of {x}", "the person to whom {x} is married"),
    "teacher": ("the teacher of {x}", "the person who taught {x}"),
    "employer": ("the employer of {x}", "the company that employs {x}"),
    "country": ("the country of {x}", "the country in which {x} lies"),
    "mayor": ("the mayor of {x}",),
    "capital": ("the capital of {x}",),
    "creator": ("the {maker} of {x}", "the person who {did} {x}"),
    "setting": ("the city in which {x} is set", "the city where {x} takes place"),
    "backer": ("the company that paid for {x}",),
    "founder": ("the founder of {x}", "the person who founded {x}"),
    "headquarters": (
        "the home city of {x}",
        "the city in which {x} is based",
        "the city where {x} has its head office",
    ),
}
ASKING: Mapping[str, Sequence[str]] = {
    "birthplace": ("Where was {x} born?", "In which city was {x} born?", "What is the birthplace of {x}?"),
    "spouse": ("Who is married to {x}?", "Who is the spouse of {x}?", "What is the name of {x}'s spouse?"),
    "teacher": ("Who taught {x}?", "Who was the teacher of {x}?", "Whose pupil was {x}?"),
    "employer": (
        "Who employs {x}?",
        "For which company does {x} work?",
        "Which company is the employer of {x}?",
    ),
    "country": (
        "In which country is {x}?",
        "To which country does {x} belong?",
        "In which country does {x} lie?",
    ),
    "mayor": ("Who is the mayor of {x}?", "What is the name of the mayor of {x}?"),
    "capital": ("What is the capital of {x}?", "Which city is the capital of {x}?"),
    "creator": ("Who {did} {x}?", "Who is the {maker} of {x}?", "By whom was {x} {made}?"),
    "setting": (
        "In which city is {x} set?",
        "Where does {x} take place?",
        "In which city does {x} take place?",
    ),
    "backer": ("Which company paid for {x}?", "Who paid for {x}?"),
    "founder": ("Who founded {x}?", "Who is the founder of {x}?", "By whom was {x} founded?"),
    "headquarters": (
        *("In which city is {x} based?", "Where is the head office of {x}?"),
        "In which city does {x} have its head office?",
    ),
    "river": ("On which river does {x} lie?", "Which river flows through {x}?"),
    "currency": ("What is the currency of {x}?", "With what money do people pay in {x}?"),
    "product": ("What does {x} make?", "What is produced by {x}?"),
    "occupation": ("What is the occupation of {x}?", "What does {x} do for a living?"),
}
ASKING_YEAR: Mapping[str, Sequence[str]] = {
    "person": ("In what year was {x} born?", "When was {x} born?", "What is the year of birth of {x}?"),
    "city": ("In what year was {x} founded?", "When was {x} founded?"),
    "company": ("In what year was {x} founded?", "When was {x} founded?"),
    "work": ("In what year did {x} come out?", "When did {x} first appear?"),
}
# Comparisons by year: the template, and whether it asks for the earlier one.
COMPARING: Mapping[str, Sequence[tuple[str, bool]]] = {
    "person": (
        ("Who was born earlier, {x} or {y}?", True),
        ("Who is older, {x} or {y}?", True),
        ("Who was born later, {x} or {y}?", False),
        ("Who is younger, {x} or {y}?", False),
    ),
    "city": (
        ("Which city was founded earlier, {x} or {y}?", True),
        ("Which city is older, {x} or {y}?", True),
        ("Which city was founded later, {x} or {y}?", False),
    ),
    "company": (
        ("Which company was founded earlier, {x} or {y}?", True),
        ("Which company is older, {x} or {y}?", True),
        ("Which company was founded later, {x} or {y}?", False),
    ),
    "work": (
        ("Which came out earlier, {x} or {y}?", True),
        ("Which is older, {x} or {y}?", True),
        ("Which came out later, {x} or {y}?", False),
    ),
}
# Questions whether two entities have a property or relation in common.
SHARING: Mapping[tuple[str, str], Sequence[str]] = {
    ("person", "birthplace"): ("Were {x} and {y} born in the same city?",),
    ("person", "occupation"): ("Do {x} and {y} have the same occupation?",),
    ("person", "employer"): ("Do {x} and {y} work for the same company?",),
    ("city", "country"): ("Are {x} and {y} in the same country?", "Do {x} and {y} lie in the same country?"),
    ("city", "river"): ("Do {x} and {y} lie on the same river?",),
    ("company", "headquarters"): ("Are {x} and {y} based in the same city?",),
    ("company", "product"): ("Do {x} and {y} make the same thing?",),
    ("work", "setting"): ("Do {x} and {y} take place in the same city?",),
    ("work", "backer"): ("Did the same company pay for {x} and {y}?",),
}
# Questions whether {y} is related to {x}.
CHECKING: Mapping[str, Sequence[str]] = {
    "birthplace": ("Was {x} born in {y}?", "Is {y} the birthplace of {x}?"),
    "employer": ("Does {x} work for {y}?",),
    "teacher": ("Was {x} taught by {y}?",),
    "country": ("Does {x} lie in {y}?", "Is {y} the country of {x}?"),
    "mayor": ("Is {y} the mayor of {x}?",),
    "founder": ("Was {x} founded by {y}?",),
    "headquarters": ("Is {x} based in {y}?", "Does {x} have its head office in {y}?"),
}
MAKING = {  # label: maker, active verb, participle
    "novel": ("author", "wrote", "written"),
    "film": ("director", "directed", "directed"),
    "opera": ("composer", "composed", "composed"),
    "play": ("author", "wrote", "written"),
}


def phrase(dice: Dice, entity: Entity, relation: str, x: str) -> str:
    """A phrase for the entity that a relation of ``entity`` leads to; ``x`` is the phrase for ``entity``."""
    patterns = PHRASES[relation]
    return _fill(dice.pick(patterns) if x == entity.mention else patterns[0], entity, x)


def ask(dice: Dice, entity: Entity, fact: str, x: str) -> str:
    """A question for a property or relation of ``entity``; ``x`` is the phrase for ``entity``."""
    patterns = ASKING_YEAR[entity.kind] if fact == "year" else ASKING[fact]
    return _fill(dice.pick(patterns), entity, x)


def _fill(pattern: str, entity: Entity, x: str) -> str:
    maker, did, made = MAKING.get(entity.label, ("", "", ""))
    return pattern.format(x=x, maker=maker, did=did, made=made)
