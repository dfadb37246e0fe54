"""The events of an episode of Search-QA so far, for its info and its snapshots."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from stepopsd_envs.search_qa.questions import Question
from stepopsd_envs.search_qa.retrieval.base import Passage

UNKNOWN = -1.0  # gold_seen of a question whose gold passages are unknown


@dataclass
class EpisodeState:
    """The state of an episode, in plain values for snapshots."""

    seen: list[str] = field(default_factory=list)  # ids of all passages shown, in order
    queries: list[str] = field(default_factory=list)
    retrieved: list[str] = field(default_factory=list)  # ids of the passages in the last observation
    new_gold: list[str] = field(default_factory=list)  # ids of the gold passages among them, new ones only
    search_note: str = ""  # why the last observation, of a search, has no passages
    answer: str | None = None
    em: float = 0.0
    f1: float = 0.0

    def show(self, passages: Sequence[Passage], question: Question) -> None:
        """Note the passages in the new observation."""
        self.retrieved, self.search_note = [passage.id for passage in passages], ""
        new = [name for name in dict.fromkeys(self.retrieved) if name not in self.seen]
        self.new_gold = [name for name in new if name in question.supporting]
        self.seen += new

    def gold_seen(self, question: Question) -> float:
        """Share of the gold passages shown so far."""
        gold = set(question.supporting)
        return len(gold.intersection(self.seen)) / len(gold) if gold else UNKNOWN
