"""Names that a sign tells from other words: C++ is not C, AT&T not any T."""

import json
from pathlib import Path

import pytest

from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.bm25 import SETTINGS_FILE, Bm25
from stepopsd_envs.search_qa.retrieval.terms import terms

TEXTS = {
    "c": "The C language is a language. C: see below.",
    "c++": "The C++ language is a language.",
    "c#": "The C# language is a language.",
    "f": "Form F language is a language.",
    "f#": "The F# language is a language.",
    "net": "A net catches fish in a language.",
    ".net": "The .NET framework is a language.",
    "t": "Model T sold well. T is a letter.",
    "at&t": "AT&T sold telephones.",
    "r": "R is a letter, and B, and D.",
    "r&d": "Money for R&D was found.",
    "r&b": "An R&B singer sang.",
    "q&a": "A Q&A followed.",
    "q": "The letter Q follows P.",
    "a&m": "A university, Texas A&M, is large.",
    "m": "M is a letter of Texas.",
    "disney": "Disney is large.",
    "disney+": "Disney+ is large.",
}


@pytest.mark.parametrize("name", [name for name in TEXTS if not name.isalpha()])
def test_bm25_prefers_the_name_with_its_signs(name: str) -> None:
    """However it stands in the query, and whatever is around it."""
    index = Bm25([Passage(name, "", text) for name, text in TEXTS.items()])
    wide = name.translate({ord("+"): "\uff0b", ord("&"): "\uff06", ord("#"): "\uff03"})
    around = (f'"{name}"', f"({name}).", f"**{name}**,", f"_{name}_", f"what is {name}?", f"{name}语言")
    for query in (name, name.upper(), wide, *around, name.replace("&", "&amp;")):
        assert index.search([query], 1)[0][0].id == name, query


def test_bm25_finds_every_name_by_its_letters() -> None:
    """The plain words stay, in passages and queries."""
    index = Bm25([Passage(name, "", text) for name, text in TEXTS.items()])
    for query, names in (("c", "c c++ c#"), ("C++", "c c++ c#"), ("net", "net .net"), (".NET", "net .net")):
        assert {passage.id for passage in index.search([query], 20)[0]} == set(names.split())


@pytest.mark.parametrize(
    ("text", "more"),
    [
        ("Java/C#, J++/.NET and Notepad++!", ["c#", "j++", "notepad++", ".net"]),
        ("C++17's C#8 'g++', D&D: H&M's (S&P 500)", ["c++", "c#", "g++", "d&d", "h&m", "s&p"]),
        ("R & B or Q & A, the B & B.", ["r&b", "q&a", "b&b"]),
        ("PG&E; AT&T/T-Mobile, AT&T-Inc, C\u266f", ["pg&e", "at&t", "at&t", "c#"]),
        ("学习C++语言和C#。", ["c++", "c#"]),
        ("Rh+ and A+, BTEC&GCE", ["rh+", "a+"]),
    ],
)
def test_terms_give_a_name_with_signs_once_more(text: str, more: list[str]) -> None:
    """One term for each name, beside those of its letters."""
    assert [term for term in terms(text) if not term.isalnum()] == more


@pytest.mark.parametrize(
    "text",
    [
        *('The end. He said "x".', "a/b and/or 1/2", "wait... ...what .. .", "#1 #tag No.# 50+ 1+1 a+b x++y"),
        *(
            "C: D; E, F.",
            "## Title ##\n# C #\n- item\n+ item\n* item",
            "page#part page.html#c http://a.b/c#d",
        ),
        *("me+tag@mail.org, a&b@mail.org", "https://x.org/?a=1&b=2&c=d&amp;e=f", "&nbsp; &lt;b&gt; &#39;"),
        *("Barnes & Noble, Barnes&Noble", "3.5 .5 1.000 p.m. e.g. U.S.", "a.Next end .", "+++ a+++ ## && &"),
        *("C+++ C## A&&B", "`a` **b** _c_ [d](e) <f> {g}", "1 & 2, 3&4", "A && B & "),
    ],
)
def test_terms_of_ordinary_signs_are_words_alone(text: str) -> None:
    """Punctuation, markdown, addresses, sums and entities add nothing."""
    assert [term for term in terms(text) if not term.replace("_", "").isalnum()] == []


def test_bm25_refuses_an_index_that_has_no_names_with_signs(tmp_path: Path) -> None:
    """Its queries would count terms that no passage has."""
    Bm25([Passage("a", "", "C++")]).save(tmp_path)
    settings = json.loads((tmp_path / SETTINGS_FILE).read_text())
    assert settings["terms"] == "5"
    (tmp_path / SETTINGS_FILE).write_text(json.dumps(settings | {"terms": "2"}))
    with pytest.raises(ValueError, match="index of another version of this program; build it again"):
        Bm25.load(tmp_path)
