"""The tokenizer of the tiny model: names are the same pieces wherever they stand."""

import pytest

from stepopsd_agent.models import FindNames, capitalised, numbered, train_tokenizer
from stepopsd_agent.tasks import get

HOUSE = [f"You go to cabinet {k % 7}. You see a mug {k % 3} in cabinet {k % 7}.\n> " for k in range(60)]
WORLD = [
    f'Question: Who is {name}?\n> <search>{name}</search>\nDoc 1(Title: "{name}") {name} was born in 19{k}.'
    for k, name in enumerate(["Ada Brenk", "Olga Brenk", "Ada Kesmont"] * 20)
]


def pieces(texts: list[str], names: FindNames, text: str) -> list[str]:
    """The text in the tokens of a tokenizer learned from the texts."""
    tokenizer = train_tokenizer(texts, 500, names)
    return [tokenizer.decode([token]) for token in tokenizer.encode(text).ids]


def test_numbered_names_are_one_piece_with_their_blank() -> None:
    """The phrases between them merge."""
    found = pieces(HOUSE, numbered, HOUSE[3])
    assert found.count(" cabinet") == 2 and found.count(" 3") == 2 and " mug" in found
    assert len(found) < 14


def test_capitalised_names_are_the_same_in_questions_tags_and_passages() -> None:
    """With a blank before them, a quotation mark or a tag."""
    found = pieces(WORLD, capitalised, WORLD[0])
    assert found.count("Ada") == found.count(" Brenk") == 4
    assert any(len(piece) > 8 for piece in found)


@pytest.mark.parametrize("names", [numbered, capitalised])
def test_tokenizer_spells_any_text(names: FindNames) -> None:
    """Byte by byte, if it has to."""
    tokenizer = train_tokenizer(HOUSE + WORLD, 400, names)
    for text in ("Écoute, Ünal: 12,5 €!", " a  b\n\n", "X", "\u2028\U0001f6aa"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text


def test_environments_choose_their_names() -> None:
    """As their texts write them."""
    assert get("stepopsd/ALFWorld-v0").names is numbered
    assert get("stepopsd/SearchQA-v0").names is capitalised
