"""The oracle of Search-QA: it knows the answer, and the query that finds each gold passage."""

from collections.abc import Collection

from stepopsd_envs.search_qa.protocol import query_text
from stepopsd_envs.search_qa.questions import Question


class SearchOracle:
    """Optimal play from a state of an episode: search for the gold passages not seen yet, then answer.

    A query that did not find its passage is not repeated. For a question without hops, the only query is the
    question itself, unless its gold passages have been seen.

    Args:
        question: the question with its hops and answers.
        seen: ids of the passages shown so far.
        asked: queries sent to the retriever so far.
        searches: number of searches left.
    """

    def __init__(
        self, question: Question, seen: Collection[str], asked: Collection[str], searches: int
    ) -> None:
        self._question = question
        queries = [query_text(query) for query in _queries(question, seen)]
        self._searches = [query for query in queries if query not in asked][:searches]

    def plan(self) -> list[str]:
        """The actions to take; the last one is the answer."""
        answer = f"<answer>{self._question.golden_answers[0]}</answer>"
        return [*(f"<search>{query}</search>" for query in self._searches), answer]

    def distance(self) -> int:
        """The number of actions in ``plan()``."""
        return len(self._searches) + 1


def _queries(question: Question, seen: Collection[str]) -> list[str]:
    if question.hops:
        return [hop.query for hop in question.hops if hop.passage not in seen]
    known = bool(question.supporting) and all(passage in seen for passage in question.supporting)
    return [] if known else [question.question]
