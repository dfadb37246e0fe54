"""What the teacher is told."""

from collections.abc import Mapping
from dataclasses import replace
from typing import get_args

import pytest

from stepopsd_agent.config import HindsightConfig, HindsightMode, Position, check_hindsight
from stepopsd_agent.hindsight import Block, block_ids, block_tokens, choose_peers, hindsight_blocks
from stepopsd_agent.hindsight.prompt import cut_middle
from stepopsd_agent.models import Policy
from stepopsd_wrappers import Episode, Step, StepTokens
from tests.helpers.models import tiny


def episode(group: int, member: int, won: bool, commands: tuple[str, ...] = ("look",)) -> Episode:
    """A short record."""
    steps = [Step("room", "", "", 0.0, False, False, {"won": False, "step": {"index": 0}})]
    for k, command in enumerate(commands, start=1):
        over = won and k == len(commands)
        info = {"won": over, "step": {"index": k}}
        steps.append(
            Step(f"answer {k}", command, command, float(over), over, k == len(commands) and not over, info)
        )
    return Episode("run", 0, group, member, f"game-{group}", 0, {"id": "", "kwargs": {}}, "f", tuple(steps))


def text_of(policy: Policy, block: Block) -> str:
    """The text of a block that all steps of an episode are shown."""
    assert not isinstance(block, Mapping)
    return policy.decode(block)


def test_choose_peers_gives_failures_the_first_success_of_their_group() -> None:
    """Mixed groups only; successes, and groups all alike, get none."""
    records = [
        episode(0, 0, False),
        episode(0, 1, True),
        episode(0, 2, True),
        episode(1, 0, False),
        episode(2, 0, True),
    ]
    peers = choose_peers(records)
    assert peers == [records[1], None, None, None, None]


def test_choose_peers_knows_groups_of_other_runs_and_updates_apart() -> None:
    """Records of several runs, scored together: numbers of groups begin anew in each."""
    lost, won = episode(0, 0, False), episode(0, 1, True)
    other_run, other_update = replace(won, run="other"), replace(won, update=1)
    assert choose_peers([lost, other_run, other_update]) == [None, None, None]
    assert choose_peers([lost, other_run, won], "all") == [won, None, None]


def test_choose_peers_for_all_gives_a_success_another_one() -> None:
    """Never itself: the only success of a group has none."""
    records = [episode(0, 0, False), episode(0, 1, True), episode(0, 2, True), episode(1, 0, True)]
    assert choose_peers(records, "all") == [records[1], records[2], records[1], None]


@pytest.mark.parametrize(
    ("mode", "success", "peer", "told"),
    [
        ("none", False, True, ()),
        ("correctness", True, True, ("success",)),
        ("correctness", False, False, ("failure",)),
        ("peer", False, False, ()),
        ("peer", False, True, ("take mug 1", "answer 1")),
        ("correctness+peer", False, True, ("failure", "take mug 1", "answer 1")),
        ("correctness+peer", True, False, ("success",)),
    ],
)
def test_block_tells_what_its_mode_says(mode: str, success: bool, peer: bool, told: tuple[str, ...]) -> None:
    """And an empty block when there is nothing to tell."""
    policy = tiny()
    shown = episode(0, 1, True, ("take mug 1", "go to desk 1")) if peer else None
    text = policy.decode(block_ids(policy, HindsightConfig(mode=mode), success, shown))  # type: ignore[arg-type]
    assert bool(text) == bool(told)
    for word in ("success", "failure", "take mug 1", "answer 1"):
        assert (word in text) == (word in told)


def test_block_of_commands_leaves_the_answers_out() -> None:
    """peer="commands" is the short form."""
    policy = tiny()
    config = HindsightConfig(mode="peer", peer="commands")
    text = policy.decode(block_ids(policy, config, False, episode(0, 1, True, ("take mug 1", "look"))))
    assert "> take mug 1\n> look\n" in text
    assert "answer" not in text


def test_block_caps_the_peer_and_keeps_its_ends() -> None:
    """A long peer loses its middle, never its end."""
    policy = tiny()
    peer = episode(0, 1, True, tuple(f"go to cabinet {k}" for k in range(50)))
    config = HindsightConfig(mode="peer", peer="commands", max_peer_tokens=60)
    ids = block_ids(policy, config, False, peer)
    text = policy.decode(ids)
    assert "go to cabinet 0" in text and "go to cabinet 49" in text and "go to cabinet 25" not in text
    assert len(ids) <= 60 + len(policy.encode(["<hindsight>\n<peer>\n</peer>\n</hindsight>\n"])[0]) + 2


def test_cut_middle_counts() -> None:
    """7 of 10 kept: three from the front, four from the back."""
    assert cut_middle(list(range(10)), 7) == [0, 1, 2, 6, 7, 8, 9]
    assert cut_middle([1, 2], 5) == [1, 2]


def test_hindsight_blocks_follow_the_order_of_the_episodes() -> None:
    """One block per episode; the failed one of the mixed group has the peer."""
    policy = tiny()
    records = [episode(0, 0, False), episode(0, 1, True, ("take mug 1",)), episode(1, 0, False)]
    texts = [text_of(policy, block) for block in hindsight_blocks(policy, HindsightConfig(), records)]
    assert "take mug 1" in texts[0] and "failure" in texts[0]
    assert "success" in texts[1] and "<peer>" not in texts[1]
    assert "failure" in texts[2] and "<peer>" not in texts[2]


def test_every_step_is_told_the_answer_to_it() -> None:
    """The last one what ended the episode; a step that was answered with nothing is told nothing."""
    policy, config = tiny(), HindsightConfig(mode="next_observation")
    record = episode(0, 0, True, ("look", "take mug 1", "go to desk 1"))
    silent = replace(
        record, steps=(*record.steps[:2], replace(record.steps[2], observation=""), record.steps[3])
    )
    (block,) = hindsight_blocks(policy, config, [silent])
    assert isinstance(block, Mapping)
    assert {index: policy.decode(ids) for index, ids in block.items()} == {
        index: f"<hindsight>\nThe environment answers to this step:\nanswer {index}\n</hindsight>\n"
        for index in (1, 3)
    }
    assert block_tokens(block) == len(block[1]) == len(block[3])


def test_a_long_answer_of_the_environment_loses_its_middle() -> None:
    """As a peer does, and by the same setting."""
    policy = tiny()
    record = episode(0, 0, True)
    long = replace(record, steps=(record.steps[0], replace(record.steps[1], observation="mug desk " * 50)))
    short, cut = (
        hindsight_blocks(policy, HindsightConfig(mode="next_observation", max_peer_tokens=most), [long])[0]
        for most in (1000, 10)
    )
    assert isinstance(short, Mapping) and isinstance(cut, Mapping)
    (body,) = policy.encode(["mug desk " * 50 + "\n"])
    assert len(short[1]) - len(cut[1]) == len(body) - 10


def test_the_gold_answer_is_told_in_all_its_spellings() -> None:
    """To every episode of the task; without an answer nothing, and nothing else instead."""
    policy, config = tiny(), HindsightConfig(mode="gold")
    records = [episode(0, 0, False), episode(0, 1, True), episode(1, 0, False)]
    blocks = hindsight_blocks(policy, config, records, [("a mug", "mug"), ("a mug", "mug"), ()])
    told = "<hindsight>\nThe correct answer is a mug or mug.\n</hindsight>\n"
    assert [text_of(policy, block) for block in blocks] == [told, told, ""]
    with pytest.raises(ValueError, match=r"hindsight\.mode is gold: pass the gold answers"):
        hindsight_blocks(policy, config, records)


@pytest.mark.parametrize("position", get_args(Position))
@pytest.mark.parametrize("mode", get_args(HindsightMode))
def test_a_mode_stands_where_it_can(mode: HindsightMode, position: Position) -> None:
    """Only what differs from step to step must be inline; both the check and the blocks say so."""
    config = HindsightConfig(mode=mode, position=position)
    if (mode, position) != ("next_observation", "prefix"):
        check_hindsight(config)
        assert len(hindsight_blocks(tiny(), config, [episode(0, 0, False)], [("a",)])) == 1
        return
    for refuses in (check_hindsight, lambda config: hindsight_blocks(tiny(), config, [])):
        with pytest.raises(ValueError, match=r"hindsight.position is 'prefix', but .* give position inline"):
            refuses(config)


@pytest.mark.parametrize("mode", [mode for mode in get_args(HindsightMode) if mode != "none"])
def test_a_block_leaves_no_step_without_a_position(mode: HindsightMode) -> None:
    """Models with learned positions have no more; others were not made for them. Two rows of 14 and 7 ids."""
    policy, config = tiny(), HindsightConfig(mode=mode)
    sizes = ((True, 6), (False, 2), (True, 1))
    tokens = [StepTokens((1,) * size, (2, 3, 4), (-1.0,) * 3, new, (0, 3)) for new, size in sizes]
    lost, won = (episode(0, member, bool(member), ("go on", "look", "take mug 1")) for member in (0, 1))
    first, *acted = lost.steps
    pairs = zip(acted, tokens, strict=True)
    lost = replace(lost, steps=(first, *(replace(step, tokens=told) for step, told in pairs)))
    answers = [["a mug", "the mug"]] * 2

    def longest(room: int) -> int:
        policy.model.config.max_position_embeddings = 14 + room
        block, _ = hindsight_blocks(policy, config, [lost, won], answers)
        told = block.values() if isinstance(block, Mapping) else [block]
        return max(map(len, told), default=0)

    whole = longest(1000)
    assert whole > 0 and longest(whole) == whole and longest(0) == 0
    assert all(longest(room) <= room for room in range(whole))
