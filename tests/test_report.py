"""The benchmark page says what the results say."""

from benchmarks import report


def test_page_is_made_from_the_results() -> None:
    """docs/benchmarks.md was not written by hand and is not stale."""
    assert report.PAGE.read_text(encoding="utf-8") == report.page()
