r"""A retriever of one's own for Search-QA: any object that ranks passages; here by the words they share.

    python examples/own_retriever.py             # searches once in this process
    python examples/own_retriever.py --serve     # answers any process, until Ctrl-C; needs the extra search

While it serves, every command searches with it, and the episodes can be recorded and played again:

    stepopsd record --env.id stepopsd/SearchQA-v0 --env.retriever http://127.0.0.1:8000 --agent random \
        --episodes 5 --out runs/notes
"""

import sys
from collections.abc import Sequence

import gymnasium as gym

import stepopsd_envs  # noqa: F401  # registers the environments
from stepopsd_envs.search_qa.retrieval.app import Limits
from stepopsd_envs.search_qa.retrieval.base import Passage
from stepopsd_envs.search_qa.retrieval.server import serve

NOTES = {
    "mill": ("Old Mill", "The Old Mill stands on the river Aune. It was built in 1874."),
    "aune": ("Aune", "The Aune is a river that rises near Tarn Hill."),
}
"""A corpus of one's own: id, title and text."""


class SharedWords:
    """Ranks by the number of words that query and passage share; none shared, not found."""

    fingerprint = f"shared words over {len(NOTES)} notes"
    """Stands in every record: what is searched, and how."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Passage]]:
        """The best ``k`` passages of every query, the best first."""
        return [self._ranked(query)[:k] for query in queries]

    def _ranked(self, query: str) -> list[Passage]:
        asked = set(query.lower().split())
        found = [
            Passage(id=name, title=title, text=text, score=float(len(asked & set(text.lower().split()))))
            for name, (title, text) in NOTES.items()
        ]
        return sorted((one for one in found if one.score), key=lambda one: -one.score)

    def close(self) -> None:
        """Nothing to release."""


if __name__ == "__main__":
    if "--serve" in sys.argv:
        serve(SharedWords(), "shared words", "127.0.0.1", 8000, Limits(), token="")
        raise SystemExit
    env = gym.make("stepopsd/SearchQA-v0", retriever=SharedWords(), tier="tiny")
    observation, info = env.reset(seed=0)
    print(observation)
    observation, *_, info = env.step("<search> when was the mill built </search>")
    print(observation, info["step"]["kind"])
