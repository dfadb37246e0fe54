"""The hindsight block as token ids: how the attempt ended, and a success of the same group (a peer).

As in StepOPSD (arXiv 2605.27140), only groups with both successes and failures have peers, the peer is the
first success in batch order, and only failed attempts are shown one.
"""

from collections.abc import Sequence
from sys import maxsize

from stepopsd_agent.config import HindsightConfig, PeerFor
from stepopsd_agent.hindsight.by_step import Answers, Block
from stepopsd_agent.models import Policy
from stepopsd_wrappers import Episode

OPEN, CLOSE = "<hindsight>\n", "</hindsight>\n"
PEER_OPEN, PEER_CLOSE = "<peer>\n", "</peer>\n"


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
    policy: Policy, config: HindsightConfig, success: bool | None, peer: Episode | None, room: int = maxsize
) -> list[int]:
    """Ids of one hindsight block; empty when there is nothing to tell, and teacher and student see the same.

    Args:
        policy: owner of the tokenizer.
        config: mode and peer settings.
        success: how the attempt ended; used by the modes with "correctness".
        peer: a successful attempt at the same task; used by the modes with "peer".
        room: most ids; a peer is cut for it or left out, then the outcome.
    """
    outcome = outcome_text(success) if "correctness" in config.mode and success is not None else ""
    shown = peer if "peer" in config.mode else None
    if not outcome and shown is None:
        return []
    head, tail = policy.encode([OPEN + outcome, CLOSE])
    bare = [*head, *tail] if outcome and len(head) + len(tail) <= room else []
    if shown is None:
        return bare
    begin, body, end = policy.encode([PEER_OPEN, peer_text(shown, config.peer), PEER_CLOSE])
    limit = min(config.max_peer_tokens, room - sum(map(len, (head, begin, end, tail))))
    return [*head, *begin, *cut_middle(body, limit), *end, *tail] if limit > 0 else bare


def hindsight_blocks(
    policy: Policy, config: HindsightConfig, episodes: Sequence[Episode], answers: Answers = None
) -> list[Block]:
    """The hindsight of each episode, cut to the model's positions; the mode "gold" needs answers of each."""
    if config.mode in ("next_observation", "gold"):
        from stepopsd_agent.hindsight.other_modes import other_blocks  # builds on this file

        return other_blocks(policy, config, episodes, answers)
    peers = choose_peers(episodes, config.peer_for)
    return [
        block_ids(policy, config, episode.success, peer, policy.room_beside(episode))
        for episode, peer in zip(episodes, peers, strict=True)
    ]
