"""Words that some spell with a sign and others without: O'Brien and OBrien, Ph.D. and PhD, 1,000 and 1000."""

import pytest

from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.bm25 import Bm25
from stepopsd_envs.search_qa.retrieval.terms import terms

SPELLINGS = [
    *("Ph.D. PhD PH.D. Ph.D PHD".split(), "B.Sc. BSc".split(), "LL.B. LLB".split()),
    *("Pharm.D. PharmD".split(), "U.S.A. USA U.S.A".split(), "Ph.D.s PhDs".split()),
    "O'Brien OBrien O\u2019Brien O\u2018Brien O`Brien O\xb4Brien O\uff07Brien O'Brien's".split(),
    *("Qur'an Quran".split(), "L'Or\xe9al Loreal L\u2019Oreal".split(), "Xi'an Xian".split()),
    *("rock'n'roll rocknroll rock\u2019n\u2019roll".split(), "Hawai'i Hawaii Hawai\u02bbi".split()),
    *("don't dont don\u2019t".split(), "paral\xb7lel paral\u0140el".split()),
    *("1,000 1000 \uff11\uff0c\uff10\uff10\uff10 $1,000".split(), "12,345,678 12345678".split()),
    *("1,00,000 100000 100,000".split(), "10,000th 10000th".split(), "1,500km 1500km".split()),
    *("e-mail email E-Mail e\u2011mail e\u2010mails".split(), "X-ray Xray".split(), "Jay-Z JayZ".split()),
]


@pytest.mark.parametrize("spellings", SPELLINGS, ids=lambda spellings: spellings[1])
def test_bm25_finds_each_spelling_by_the_others(spellings: list[str]) -> None:
    """Wherever it stands in a text."""
    for text in spellings:
        others = [Passage("other", "", "Hills and houses.")]
        index = Bm25([Passage("it", "", f"So ({text}), they said."), *others])
        for query in spellings:
            found = [passage.id for passage in index.search([f"who is \u201c{query}\u201d?"], 2)[0]]
            assert found == ["it"], (text, query)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("O'Brien's hat", "o brien s hat obrien"),
        ("The cat's and the dogs' food, Who\u2019s?", "cat s dog food s"),
        ("she'll we're I'm they've he'd", "ll re m ve d"),
        ("'quoted' \u2018words\u2019 rock 'n' roll, the 90's", "quoted word rock n roll 90 s"),
        ("1,2,3 and 0,125; 1990,500 or 3.141, 5'10", "1 2 3 0 125 1990 500 3 141 5 10"),
        ("well-known hip-hop, 1990-a, e--mail, a-b-word", "well known hip hop 1990 e mail b word"),
        ("www.x.org end.Next J.R.R.Tolkien", "www x org end next j r r tolkien jrr"),
    ],
)
def test_terms_of_signs_that_end_words(text: str, expected: str) -> None:
    """A possessive is no part of a word, nor are quotes, contracted verbs, sums, compounds and addresses."""
    assert sorted(terms(text)) == sorted(expected.split())


def test_bm25_keeps_the_words_around_a_sign() -> None:
    """As before: the name is found by its parts, and a passage with all of it ranks before them."""
    texts = {"brien": "A brien.", "it": "An O'Brien.", "x": "Hill."}
    index = Bm25([Passage(name, "", text) for name, text in texts.items()])
    assert [passage.id for passage in index.search(["O'Brien"], 3)[0]] == ["it", "brien"]
    assert {passage.id for passage in index.search(["Brien"], 3)[0]} == {"it", "brien"}
