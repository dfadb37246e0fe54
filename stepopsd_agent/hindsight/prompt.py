"""The hindsight block as token ids: how the attempt ended, a success of the same group (a peer), and others.

As in StepOPSD (arXiv 2605.27140), only groups with both successes and failures have peers, the peer is the
first success in batch order, and only failed attempts are shown one. Other modes tell the teacher what the
environment answered to the step that is judged, or the task's gold answer.
"""

from collections.abc import Mapping, Sequence

from stepopsd_agent.config import HindsightConfig, PeerFor, check_hindsight
from stepopsd_agent.models import Policy
from stepopsd_wrappers import Episode

OPEN, CLOSE = "<hindsight>\n", "</hindsight>\n"
PEER_OPEN, PEER_CLOSE = "<peer>\n", "</peer>\n"
NEXT = "The environment answers to this step:\n"

Block = Sequence[int] | Mapping[int, Sequence[int]]
"""Hindsight of one episode: ids for all its steps, or those of each step that is told some, by its index."""
Blocks = Sequence[Block]
"""Hindsight of each episode of a batch; an empty one leaves the context as it was."""


def choose_peers(episodes: Sequence[Episode], peer_for: PeerFor = "failed") -> list[Episode | None]:
    """For each episode the first success of its (run, update, group) that is not itself, or None.

    With "failed" an episode that succeeded itself has none.
    """
    won: dict[tuple[str, int, int], list[Episode]] = {}
    for episode in episodes:
        if episode.success:
            won.setdefault(episode.group_key, []).append(episode)

    def peer(episode: Episode) -> Episode | None:
        if episode.success and peer_for == "failed":
            return None
        others = (e for e in won.get(episode.group_key, []) if e is not episode)
        return next(others, None)

    return [peer(episode) for episode in episodes]


def outcome_text(success: bool) -> str:
    """One line on how the attempt ended."""
    return f"This attempt ended in {'success' if success else 'failure'}.\n"


def peer_text(peer: Episode, content: str) -> str:
    """A peer's commands, with the answers to them when ``content`` is "transcript"."""
    answers = [f"\n{step.observation}" if content == "transcript" else "" for step in peer.steps[1:]]
    return "".join(f"> {step.action}{answer}\n" for step, answer in zip(peer.steps[1:], answers, strict=True))


def gold_text(answers: Sequence[str]) -> str:
    """One line with the gold answer, in all its spellings; nothing where there is none."""
    return f"The correct answer is {' or '.join(answers)}.\n" if answers else ""


def cut_middle(ids: Sequence[int], limit: int) -> list[int]:
    """Keep the first and the last ids: how the peer began and how it won."""
    if len(ids) <= limit:
        return list(ids)
    head = limit // 2
    return [*ids[:head], *ids[len(ids) - (limit - head) :]]


def hindsight_words() -> list[str]:
    """All fixed texts a block can hold, for a tokenizer that is learned from text."""
    return [OPEN + outcome_text(success) + PEER_OPEN + PEER_CLOSE + CLOSE for success in (True, False)]


def block_ids(
    policy: Policy,
    config: HindsightConfig,
    success: bool | None,
    peer: Episode | None,
    answers: Sequence[str] = (),
) -> list[int]:
    """Ids of one hindsight block; empty when there is nothing to tell, and teacher and student see the same.

    Args:
        policy: owner of the tokenizer.
        config: mode and peer settings.
        success: how the attempt ended; used by the modes with "correctness".
        peer: a successful attempt at the same task; used by the modes with "peer".
        answers: the task's gold answer, in each of its spellings; used by the mode "gold".
    """
    line = outcome_text(success) if "correctness" in config.mode and success is not None else ""
    line = gold_text(answers) if config.mode == "gold" else line
    shown = peer if "peer" in config.mode else None
    if not line and shown is None:
        return []
    head, tail = policy.encode([OPEN + line, CLOSE])
    if shown is None:
        return [*head, *tail]
    begin, body, end = policy.encode([PEER_OPEN, peer_text(shown, config.peer), PEER_CLOSE])
    return [*head, *begin, *cut_middle(body, config.max_peer_tokens), *end, *tail]


def next_observation_blocks(policy: Policy, limit: int, episode: Episode) -> dict[int, list[int]]:
    """For every step that the environment answered with a text, by its index, a block with that answer.

    Of an answer of more than `limit` tokens the middle is lost; the last one is what ended the episode.
    """
    answered = {
        index: f"{step.observation}\n" for index, step in enumerate(episode.steps) if step.observation
    }
    answered.pop(0, None)  # the answer to the reset is no step's
    head, tail, *bodies = policy.encode([OPEN + NEXT, CLOSE, *answered.values()])
    return {
        index: [*head, *cut_middle(body, limit), *tail] for index, body in zip(answered, bodies, strict=True)
    }


def hindsight_blocks(
    policy: Policy,
    config: HindsightConfig,
    episodes: Sequence[Episode],
    answers: Sequence[Sequence[str]] | None = None,
) -> list[Block]:
    """The hindsight of each episode of a batch, in its order.

    The mode "gold" needs `answers`, the gold answers of each episode's task.

    Raises:
        ValueError: the mode cannot stand in this position, or lacks the answers.
    """
    check_hindsight(config)
    if config.mode == "next_observation":
        return [next_observation_blocks(policy, config.max_peer_tokens, episode) for episode in episodes]
    if config.mode == "gold" and answers is None:
        raise ValueError("hindsight.mode is gold: pass the gold answers of each episode's task")
    peers = choose_peers(episodes, config.peer_for)
    golds = answers if answers is not None else [()] * len(episodes)
    return [
        block_ids(policy, config, e.success, peer, gold)
        for e, peer, gold in zip(episodes, peers, golds, strict=True)
    ]


def block_tokens(block: Block) -> float:
    """Ids that one step is shown, on average over the steps that are shown some."""
    if isinstance(block, Mapping):
        return sum(map(len, block.values())) / max(1, len(block))
    return float(len(block))
