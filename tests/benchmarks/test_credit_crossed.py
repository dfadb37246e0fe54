"""Knowledge and form of two methods, crossed: two of the four are the methods themselves."""

from collections.abc import Iterator

import pytest
import torch

from stepopsd_agent import credit
from stepopsd_agent.batch import Batch
from stepopsd_agent.credit import CreditMethod, registry
from tests.agent.credit.test_state_graph import attempt
from tests.helpers.builders import build, by_step


@pytest.fixture
def batch() -> Batch:
    """Two groups: one with a success, one without; distances of both kinds, some out of reach."""
    won = [attempt("ABBC", True), attempt("AABD", False)]
    lost = [attempt("ABA", False, group=1), attempt("DCB", False, group=1)]
    made = build([*won, *lost]).to(dtype=torch.float64)
    rng = torch.Generator().manual_seed(0)
    columns = {
        name: torch.randint(-1, 5, (made.num_steps,), generator=rng)
        for name in ("optimal_distance", "lifted_distance", "next_lifted_distance")
    }
    return made.with_columns(**columns, last_distance=torch.tensor([0, -1, 2, 3]))


@pytest.fixture
def crossed(monkeypatch: pytest.MonkeyPatch) -> Iterator[type[CreditMethod]]:
    """The control, whose file registers it."""
    monkeypatch.setattr(registry, "_ENTRIES", dict(registry._ENTRIES))
    from benchmarks.credit.crossed import Crossed

    yield Crossed


@pytest.mark.parametrize(
    ("settings", "name", "own"),
    [
        ({"distances": "truth", "form": "progress"}, "oracle", {}),
        ({"distances": "texts", "form": "gain"}, "path_gain", {"lifted": True}),
        (
            {"distances": "texts", "form": "progress"},
            "path_gain",
            {"lifted": True, "measure": "commands", "episode_weight": 0.0},
        ),
    ],
)
def test_each_knowledge_in_its_own_form_is_the_method(
    batch: Batch, crossed: type[CreditMethod], settings: dict[str, str], name: str, own: dict[str, object]
) -> None:
    """To rounding; the needs hold those of the method."""
    method, known = crossed(**settings), credit.make(name, **own)
    assert method.needs >= known.needs
    torch.testing.assert_close(method(batch).advantages, known(batch).advantages)


def test_the_truth_with_discounts_by_hand(crossed: type[CreditMethod]) -> None:
    """A-B-B-C, distances 2, 1, 1, 0: gains .95 - .9025, -.1 * .05, 1 - .95; the episodes' part is none."""
    made = build([attempt("ABBC", True)]).to(dtype=torch.float64)
    made = made.with_columns(optimal_distance=torch.tensor([2, 1, 1]), last_distance=torch.tensor([0]))
    nowhere = torch.full((3,), -1)
    made = made.with_columns(lifted_distance=nowhere, next_lifted_distance=nowhere)
    gains = torch.tensor([0.95 - 0.9025, -0.005, 0.05], dtype=torch.float64)
    expected = (gains - gains.mean()) / (gains.std() + 1e-6)
    found = crossed(distances="truth", form="gain")(made).advantages
    assert [values[0] for values in by_step(made, found)] == pytest.approx(expected.tolist())


def test_the_truth_in_the_form_of_path_gain_has_the_advantage_of_the_episode(
    crossed: type[CreditMethod],
) -> None:
    """A-B wins, A-C does not and is lost: gains 1 - .95 and -.95, and what GRPO gives beside."""
    made = build([attempt("AB", True), attempt("AC", False)]).to(dtype=torch.float64)
    nowhere = torch.full((2,), -1)
    made = made.with_columns(
        optimal_distance=torch.tensor([1, 1]),
        last_distance=torch.tensor([0, -1]),
        lifted_distance=nowhere,
        next_lifted_distance=nowhere,
    )
    gains = torch.tensor([0.05, -0.95], dtype=torch.float64)
    steps = (gains - gains.mean()) / (gains.std() + 1e-6)
    episodes = [values[0] for values in by_step(made, credit.make("grpo")(made).advantages)]
    assert episodes[0] > 0 > episodes[1]
    found = crossed(distances="truth", form="gain")(made).advantages
    whole = [step + episode for step, episode in zip(steps.tolist(), episodes, strict=True)]
    assert [values[0] for values in by_step(made, found)] == pytest.approx(whole)


def test_progress_on_texts_is_that_of_both_graphs(crossed: type[CreditMethod]) -> None:
    """A-B-C wins and A-B-A does not: 1, 1 and 1, -1 on the group's graph; lifted: 1, 1 and none."""
    made = build([attempt("ABC", True), attempt("ABA", False)]).to(dtype=torch.float64)
    lifted = {
        "lifted_distance": torch.tensor([2, 1, -1, -1]),
        "next_lifted_distance": torch.tensor([1, 0, -1, -1]),
    }
    progress = torch.tensor([2.0, 2.0, 1.0, -1.0], dtype=torch.float64)
    expected = (progress - progress.mean()) / (progress.std() + 1e-6)
    found = crossed(distances="texts", form="progress")(made.with_columns(**lifted)).advantages
    assert [values[0] for values in by_step(made, found)] == pytest.approx(expected.tolist())
