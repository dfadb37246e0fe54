"""Canonical lists and fingerprints."""

import pytest

from stepopsd_envs.manifest import TaskFile, canonical, fingerprint, fingerprint_files


def test_canonical_sorts_by_task_id_and_drops_repeats() -> None:
    """Whatever order a file system lists files in."""
    files = [TaskFile("b/2", "/y"), TaskFile("a/10", "/z"), TaskFile("a/9", "/x"), TaskFile("b/2", "/y")]
    assert [file.task_id for file in canonical(files)] == ["a/10", "a/9", "b/2"]
    assert canonical(files) == canonical(reversed(files))


def test_canonical_refuses_two_files_of_one_id() -> None:
    """Else it would depend on luck which of them is played."""
    with pytest.raises(ValueError, match=r"/x and /y are both task 'a/1'"):
        canonical([TaskFile("a/1", "/y"), TaskFile("a/1", "/x")])


def test_fingerprint_depends_on_names_contents_and_order() -> None:
    """And has no ambiguity between a name and a content."""
    lists = [[("a", "1")], [("a", "2")], [("b", "1")], [("a1", "")], [("a", "1"), ("b", "2")], []]
    lists.append([("b", "2"), ("a", "1")])
    assert len({fingerprint(entries) for entries in lists}) == len(lists)
    assert fingerprint(lists[4]) == fingerprint(iter(lists[4]))


def test_fingerprint_stays_what_it_was() -> None:
    """It stands in records: another formula would make them look as if recorded on other data."""
    assert fingerprint([("a", "1"), ("b", "2")]) == "10b2b890b79a262ddee1457043e46f7e"


def test_fingerprint_files_does_not_depend_on_where_the_data_lies() -> None:
    """Two copies of a data set have one fingerprint, another content another."""
    here = [TaskFile("t/1", "/here/1", "aa"), TaskFile("t/2", "/here/2", "bb")]
    there = [TaskFile(file.task_id, file.path.replace("here", "there"), file.digest) for file in here]
    assert fingerprint_files(here) == fingerprint_files(there)
    assert fingerprint_files([here[0], TaskFile("t/2", "/here/2", "cc")]) != fingerprint_files(here)
