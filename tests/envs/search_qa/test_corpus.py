"""Corpora: every form a line may have, compression, the hash, and errors that name the line."""

import gzip
import json
import lzma
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, strategies as st

from stepopsd_envs.search_qa.corpus import contents, corpus_facts, passage_of, read_corpus, split_contents
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.errors import CorpusError, RetrievalSetupError
from tests.helpers.retrieval import SHELF, rows, write_corpus


def test_corpus_forms_are_the_same_passages(tmp_path: Path) -> None:
    """Title and text, or contents; plain or compressed; with and without blank lines: one list, one hash."""
    plain = write_corpus(tmp_path / "a.jsonl")
    joined = write_corpus(tmp_path / "b.jsonl", [{"id": p.id, "contents": contents(p)} for p in SHELF])
    data = plain.read_bytes().replace(b"\n", b"\n\n  \r\n")
    (tmp_path / "c.jsonl.xz").write_bytes(lzma.compress(data))
    (tmp_path / "d.jsonl.gz").write_bytes(gzip.compress(data))
    files = [plain, joined, tmp_path / "c.jsonl.xz", tmp_path / "d.jsonl.gz"]
    assert [tuple(read_corpus(file)) for file in files] == [SHELF] * 4
    assert len({corpus_facts(read_corpus(file)) for file in files}) == 1


def test_corpus_facts_change_with_content_and_order() -> None:
    """The fingerprint is of everything that is searched."""
    facts = corpus_facts(SHELF)
    assert facts.passages == 4
    others = [
        SHELF[::-1],
        SHELF[:3],
        (*SHELF[:3], Passage("p4", "Salmon", "Salmon swim.")),
        (*SHELF[:3], Passage("p5", *(SHELF[3].title, SHELF[3].text))),
    ]
    assert len({facts.fingerprint, *(corpus_facts(other).fingerprint for other in others)}) == 5


@pytest.mark.parametrize(
    ("text", "title", "rest"),
    [
        ('"Red Fox"\nIt lives.', "Red Fox", "It lives."),
        ('"Red Fox"\r\nIt lives.', "Red Fox", "It lives."),
        ("Red Fox\nIt lives.\nIt eats.", "", "Red Fox\nIt lives.\nIt eats."),
        ("one line", "", "one line"),
        ('"a "quoted" title"\ntext', 'a "quoted" title', "text"),
        ('""\ntext', "", "text"),
        ('"\ntext', "", '"\ntext'),
        ('He said "no".\nShe left.', "", 'He said "no".\nShe left.'),
        ("", "", ""),
    ],
)
def test_contents_are_taken_apart(text: str, title: str, rest: str) -> None:
    """As Search-R1's and FlashRAG's corpora write them."""
    assert split_contents(text) == (title, rest)


@pytest.mark.parametrize(
    ("row", "title", "text"),
    [
        ({"title": "Old Mill", "contents": "It was built in 1874."}, "Old Mill", "It was built in 1874."),
        ({"title": "Old Mill", "contents": "It was built\nin 1874."}, "Old Mill", "It was built\nin 1874."),
        ({"title": "Old Mill", "contents": '"Old  Mill"\nIt was built.'}, "Old Mill", "It was built."),
        ({"title": "Old Mill", "contents": '"Hello"\nshe said.'}, "Old Mill", '"Hello"\nshe said.'),
        ({"title": '"Old Mill"', "contents": '"Old Mill"\nIt was built.'}, "Old Mill", "It was built."),
        ({"title": ' "Old  Mill"', "contents": '"Old Mill" \nIt was.'}, "Old Mill", "It was."),
        ({"title": '"Heroes"', "contents": '""Heroes""\nA song.'}, '"Heroes"', "A song."),
        ({"title": '"Heroes"', "contents": "A song."}, '"Heroes"', "A song."),
        ({"title": None, "contents": '"Old Mill"\nIt was built.'}, "Old Mill", "It was built."),
        ({"title": "", "contents": '"Old Mill"\nIt was built.'}, "Old Mill", "It was built."),
        ({"title": None, "text": "It was built."}, "", "It was built."),
        ({"title": "Old Mill", "text": None, "contents": "It was built."}, "Old Mill", "It was built."),
        ({"title": "Old Mill", "text": "", "contents": "It was built."}, "Old Mill", "It was built."),
        ({"title": "Old Mill", "text": " \n", "contents": "It was built."}, "Old Mill", "It was built."),
        ({"text": "", "contents": '"Old Mill"\nIt was built.'}, "Old Mill", "It was built."),
        ({"title": "Old Mill", "text": "", "contents": None}, "Old Mill", ""),
        ({"title": "Old Mill", "text": "It was.", "contents": '"Old Mill"\nx'}, "Old Mill", "It was."),
    ],
)
def test_title_wins_over_contents(row: dict[str, Any], title: str, text: str) -> None:
    """Whatever fields a corpus has, its title is shown and its text is whole."""
    assert passage_of({"id": 7, **row}) == Passage("7", title, text)


@pytest.mark.parametrize("ids", [{"id": 7}, {"_id": "7"}, {"docid": 7}, {"id": None, "docid": "7"}])
def test_ids_have_the_names_of_known_corpora(ids: dict[str, Any]) -> None:
    """BEIR's, Pyserini's, Search-R1's."""
    assert passage_of({**ids, "text": "b"}).id == "7"


def test_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    """As some editors write it, before a passage or a blank line."""
    for first in (b"", b"\n", b"  \r\n"):
        (tmp_path / "c.jsonl").write_bytes(b"\xef\xbb\xbf" + first + b'{"id": 1, "text": "b"}\n')
        assert [p.id for p in read_corpus(tmp_path / "c.jsonl")] == ["1"]


@given(st.text(), st.text(), st.text(min_size=1).filter(str.strip))
def test_contents_keep_every_passage(title: str, text: str, name: str) -> None:
    """A passage that was read comes back from its contents, whatever its characters are."""
    passage = passage_of({"id": name, "title": title, "text": text})
    assert passage_of({"id": passage.id, "contents": contents(passage)}) == passage
    assert json.loads(json.dumps(contents(passage)).encode().decode()) == contents(passage)


def test_passages_have_only_whole_characters() -> None:
    """Half a character, which no encoding can write, is replaced; a whole one in two halves stays."""
    passage = passage_of({"id": "x\ud800", "title": "\udfff", "text": "fox \ud83e\udd8a \ud83e"})
    assert passage == Passage("x\ufffd", "\ufffd", "fox \U0001f98a \ufffd")


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "not JSON"),
        ("[1]", "each line must be an object"),
        ("{}", "there is no id; the object is empty; give id, _id or docid"),
        (
            '{"title": "a", "text": "b"}',
            "there is no id; the keys are 'title', 'text'; give id, _id or docid",
        ),
        ('{"_id": 1.5, "text": "b"}', "'_id' is 1.5"),
        ('{"docid": [1], "text": "b"}', "'docid' is [1]"),
        ('{"id": " ", "text": "b"}', "'id' is ' '"),
        ('{"id": true, "text": "b"}', "'id' is True"),
        ('{"id": "", "text": "b"}', "'id' is ''"),
        ('{"id": "x", "body": "y"}', "the keys are 'id', 'body'; give 'title' and 'text', or 'contents'"),
        ('{"id": "x", "contents": 3}', "'contents' is 3; give a text"),
        ('{"id": "x", "text": 3}', "'text' is 3; give a text"),
        ('{"id": "x", "title": 3, "text": "b"}', "'title' is 3; give a text"),
    ],
)
def test_bad_line_is_named(tmp_path: Path, line: str, problem: str) -> None:
    """File, number of the line and what is wrong with it."""
    path = tmp_path / "c.jsonl"
    path.write_text(json.dumps(rows()[0]) + f"\n\n{line}\n")
    with pytest.raises(CorpusError, match="line 3") as error:
        list(read_corpus(path))
    assert problem in str(error.value) and str(path) in str(error.value)
    assert isinstance(error.value, RetrievalSetupError)


def test_bytes_that_are_no_text_are_named(tmp_path: Path) -> None:
    """UTF-8 is asked for, and said so."""
    (tmp_path / "c.jsonl").write_bytes(b'{"id": "x", "text": "\xff\xfe"}\n')
    with pytest.raises(CorpusError, match="line 1: not JSON"):
        list(read_corpus(tmp_path / "c.jsonl"))


@pytest.mark.parametrize("suffix", [".xz", ".gz"])
def test_cut_off_archive_is_an_error(tmp_path: Path, suffix: str) -> None:
    """Half a download is not half a corpus."""
    data = "".join(json.dumps({"id": str(k), "text": f"{k * 7919}"}) + "\n" for k in range(5000)).encode()
    packed = lzma.compress(data) if suffix == ".xz" else gzip.compress(data)
    path = tmp_path / f"c.jsonl{suffix}"
    path.write_bytes(packed[: len(packed) // 2])
    with pytest.raises(CorpusError, match="damaged or truncated after line"):
        list(read_corpus(path))
    path.write_bytes(b"not an archive")
    with pytest.raises(CorpusError, match="damaged or truncated"):
        list(read_corpus(path))


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("c.jsonl", b"\n\n", "holds no passage"),
        ("c.txt", b"{}", "give a .jsonl file"),
        ("none.jsonl", None, "cannot be read"),
    ],
)
def test_files_that_are_no_corpus_are_refused(
    tmp_path: Path, name: str, content: bytes | None, problem: str
) -> None:
    """Empty, of another kind, or not there."""
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=problem):
        list(read_corpus(tmp_path / name))


def test_ids_must_be_unique() -> None:
    """What stands twice is told by its place."""
    with pytest.raises(CorpusError, match=r"1 passages repeat the id of another one.* passage 2;"):
        corpus_facts([SHELF[0], SHELF[1], SHELF[2], SHELF[1]])


def test_numbers_are_ids_too(tmp_path: Path) -> None:
    """Wikipedia dumps count their passages."""
    lines: list[Any] = [{"id": 0, "contents": '"A"\nb'}, {"id": "1", "text": "c"}]
    assert [p.id for p in read_corpus(write_corpus(tmp_path / "c.jsonl", lines))] == ["0", "1"]


def test_real_corpus_is_read(test_data: Path) -> None:
    """41,407 passages of Wikipedia, with title and text apart."""
    path = test_data / "searchqa" / "corpus.jsonl.xz"
    passages = list(read_corpus(path))
    assert len(passages) == 41_407 == corpus_facts(passages).passages
    with lzma.open(path) as file:
        assert [p.title for p in passages] == [json.loads(line)["title"] for line in file]
