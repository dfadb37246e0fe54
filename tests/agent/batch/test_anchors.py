"""Which observations count as the same place."""

import pytest
from hypothesis import given, strategies as st

from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.batch.anchors import similar_anchors
from stepopsd_agent.run import Trainer
from tests.agent.batch.test_batch import episode, tokens
from tests.helpers.builders import steady
from tests.helpers.runs import run_config, taught

LONG = "You see a shelf with a red book, a blue book and a lamp"


def test_similar_texts_of_one_group_share_a_cluster() -> None:
    """One letter of many differs; other texts, and other groups, keep apart."""
    texts = [LONG, LONG + ".", "a door", LONG, LONG]
    assert similar_anchors(texts, [0, 0, 0, 0, 1], 0.9) == [0, 0, 1, 0, 2]
    assert similar_anchors(texts, [0] * 5, 1.0) == [0, 1, 2, 0, 0]


def test_a_text_joins_the_first_cluster_it_resembles() -> None:
    """Likeness to the cluster's first text counts, not to its members: "abcd" and "cdef" do not meet."""
    # twice the matching letters over all: abcd-abce 6/8, abce-abef 4/8 as "ab" and "e" match, abcd-abef 4/8
    assert similar_anchors(["abcd", "abce", "abef"], [0, 0, 0], 0.7) == [0, 0, 1]


@given(st.lists(st.text(alphabet="ab ", max_size=6), min_size=1, max_size=8), st.floats(0.05, 1))
@steady
def test_equal_texts_are_never_parted(texts: list[str], similarity: float) -> None:
    """And clusters are numbered from 0 without holes."""
    numbers = similar_anchors(texts, [0] * len(texts), similarity)
    known: dict[str, int] = {}
    assert all(known.setdefault(text, number) == number for text, number in zip(texts, numbers, strict=True))
    assert sorted(set(numbers)) == list(range(len(set(numbers))))


def test_a_similarity_that_cannot_be_is_refused() -> None:
    """Everything would be alike, or nothing."""
    for wrong in (0.0, 1.01):
        with pytest.raises(ValueError, match="must lie above 0 and be at most 1"):
            similar_anchors(["a"], [0], wrong)


def test_collate_clusters_anchors_when_told_to() -> None:
    """The observations that steps acted on, "seen 0" to "seen 2", are alike; their hashes are not equal."""
    record = episode(tokens(2, 7, new_row=True), tokens(2, 8), tokens(2, 9))
    exact, alike = collate([record], pad_id=0), collate([record], pad_id=0, anchor_similarity=0.5)
    assert len(set(exact.steps.anchor.tolist())) == 3
    assert set(alike.steps.anchor.tolist()) == {0}


@pytest.mark.samples
def test_a_run_clusters_anchors_as_it_is_told() -> None:
    """The setting reaches the batch that the credit method sees: all observations are a little alike."""
    policy = taught()
    counts = []
    for similarity in (1.0, 0.01):
        config = run_config(rollout={"anchor_similarity": similarity})
        one = Trainer(config, credit.make("gigpo"), policy)
        batch = one.score(one.chosen(one.collect()))
        counts.append((len(set(batch.steps.anchor.tolist())), int(batch.episodes.group_of_episode.max()) + 1))
    (exact, groups), (alike, same) = counts
    assert alike == groups == same < exact
