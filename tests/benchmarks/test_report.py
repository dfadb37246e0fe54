"""The generated pages say what the results and the docstrings say."""

from benchmarks.report import credit_methods
from benchmarks.report import pages as report


def test_page_is_made_from_the_results() -> None:
    """docs/benchmarks.md was not written by hand and is not stale."""
    assert report.PAGE.read_text(encoding="utf-8") == report.page()


def test_readme_shows_the_newest_speed() -> None:
    """Its table was not written by hand and is not stale."""
    assert report.README.read_text(encoding="utf-8") == report.readme()
    assert "times TextWorld's speed" in report.readme()


def test_credit_methods_are_made_from_the_docstrings() -> None:
    """docs/credit-methods.md was not written by hand and is not stale."""
    assert credit_methods.PAGE.read_text(encoding="utf-8") == credit_methods.page()
