"""The oracle of Search-QA: it knows the answer and which search finds which gold passage."""

from collections.abc import Collection

from stepopsd_envs.search_qa.protocol import query_text
from stepopsd_envs.search_qa.questions import Question


class SearchOracle:
    """Optimal play from a point of an episode: search for what has not been seen yet, then answer.

    A search that was made and did not find its passage is not made again. A question without hops is searched
    for as it stands, once, unless its gold passages have been seen.

    Args:
        question: with all that is known about it.
        seen: ids of the passages shown so far.
        asked: queries made so far, as the retriever was asked.
        searches: how many are left.
    """

    def __init__(
        self, question: Question, seen: Collection[str], asked: Collection[str], searches: int
    ) -> None:
        self._question = question
        queries = [query_text(query) for query in _queries(question, seen)]
        self._searches = [query for query in queries if query not in asked][:searches]

    def plan(self) -> list[str]:
        """The actions to take, the last of them the answer."""
        answer = f"<answer>{self._question.golden_answers[0]}</answer>"
        return [*(f"<search>{query}</search>" for query in self._searches), answer]

    def distance(self) -> int:
        """How many actions that is."""
        return len(self._searches) + 1


def _queries(question: Question, seen: Collection[str]) -> list[str]:
    if question.hops:
        return [hop.query for hop in question.hops if hop.passage not in seen]
    known = bool(question.supporting) and all(passage in seen for passage in question.supporting)
    return [] if known else [question.question]
