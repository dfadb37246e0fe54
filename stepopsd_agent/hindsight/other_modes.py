"""Hindsight other than outcome and peer: what the environment answered to a step, and the gold answer."""

from collections.abc import Sequence

from stepopsd_agent.config import HindsightConfig, check_hindsight
from stepopsd_agent.hindsight.by_step import Answers, Block
from stepopsd_agent.hindsight.prompt import CLOSE, OPEN, cut_middle
from stepopsd_agent.models import Policy
from stepopsd_wrappers import Episode

NEXT = "The environment answers to this step:\n"


def gold_text(answers: Sequence[str]) -> str:
    """One line with the gold answer in all its spellings."""
    return f"The correct answer is {' or '.join(answers)}.\n"


def other_blocks(
    policy: Policy, config: HindsightConfig, episodes: Sequence[Episode], answers: Answers
) -> list[Block]:
    """The hindsight of each episode in the modes "next_observation" and "gold"; see `hindsight_blocks`.

    Raises:
        ValueError: the mode cannot stand in this position, or lacks the answers.
    """
    check_hindsight(config)
    if config.mode == "next_observation":
        return [next_observations(policy, config.max_peer_tokens, episode) for episode in episodes]
    if answers is None:
        raise ValueError("hindsight.mode is gold: pass the gold answers of each episode's task")
    blocks = [gold_block(policy, spellings) for _, spellings in zip(episodes, answers, strict=True)]
    rooms = [policy.room_beside(episode) for episode in episodes]
    return [block if len(block) <= room else [] for block, room in zip(blocks, rooms, strict=True)]


def gold_block(policy: Policy, answers: Sequence[str]) -> list[int]:
    """A block with the gold answer; nothing where there is none."""
    if not answers:
        return []
    head, tail = policy.encode([OPEN + gold_text(answers), CLOSE])
    return [*head, *tail]


def next_observations(policy: Policy, limit: int, episode: Episode) -> dict[int, list[int]]:
    """For every step that the environment answered with a text, by its index, a block with that answer.

    Args:
        policy: owner of the tokenizer.
        limit: a longer answer, in tokens, loses its middle.
        episode: the record; the last step is told the text that ended the episode.
    """
    steps = list(enumerate(episode.steps))[1:]  # the first text answers no step
    answered = {index: f"{step.observation}\n" for index, step in steps if step.observation}
    head, tail, *bodies = policy.encode([OPEN + NEXT, CLOSE, *answered.values()])
    limit = min(limit, policy.room_beside(episode) - len(head) - len(tail))
    if limit < 1:
        return {}
    return {
        index: [*head, *cut_middle(body, limit), *tail] for index, body in zip(answered, bodies, strict=True)
    }
