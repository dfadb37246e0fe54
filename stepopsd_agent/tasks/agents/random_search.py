"""The random agent of Search-QA: the floor of every table."""

from typing import Any

import numpy as np

from stepopsd_envs.search_qa.expert import answer, names_in, passages_in, search


class RandomSearcher:
    """Searches for a name it has read or gives one as the answer, both by chance."""

    def reset(self, seed: int, observation: str, info: dict[str, Any]) -> None:
        """Start the episode's own generator."""
        self._rng = np.random.default_rng(seed)
        self._names = names_in(info["goal"])

    def act(self, observation: str, info: dict[str, Any]) -> str:
        """One search or answer."""
        if info["retrieved"]:
            self._names += names_in(passages_in(observation))
        names = self._names or [info["goal"]]
        name = names[int(self._rng.integers(len(names)))]
        return str(search(name) if self._rng.random() < 0.5 else answer(name))
