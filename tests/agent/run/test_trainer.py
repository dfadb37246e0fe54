"""The training loop: equal seeds, the teacher's weights, methods that must agree, and that it learns."""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, ClassVar, SupportsFloat

import gymnasium as gym
import pytest
import torch
from torch import Tensor

from stepopsd_agent import credit
from stepopsd_agent.batch import collate
from stepopsd_agent.credit import CreditMethod
from stepopsd_agent.credit.grpo import GRPO
from stepopsd_agent.models import Policy
from stepopsd_agent.rollout import groups, mixed_groups, whole_groups
from stepopsd_agent.run import Trainer
from stepopsd_agent.run.trainer_state import restore_trainer, trainer_state, trainer_tensors
from stepopsd_agent.tasks import env_arguments
from stepopsd_wrappers import make_text_env
from tests.helpers.runs import cloned, demonstrations, draw_until, run_config, taught

pytestmark = pytest.mark.samples
STEP_OPSD = credit.make("step_opsd")


def trainer(method: CreditMethod = STEP_OPSD, **settings: Any) -> Trainer:
    """A run that has not begun."""
    return Trainer(run_config(**settings), method, taught())


def run(one: Trainer, updates: int) -> Iterator[dict[str, float]]:
    """The metrics of each update as it is made."""
    for _ in range(updates):
        yield one.step()[1]


def equal(first: dict[str, Tensor] | None, second: dict[str, Tensor]) -> bool:
    """Whether weights are the same to the bit."""
    assert first is not None
    return all(torch.equal(tensor, second[name]) for name, tensor in first.items())


def test_train_equal_seeds_give_equal_runs() -> None:
    """Metrics, episodes and weights; another seed gives others."""
    one, two, other = trainer(), trainer(), trainer(seed=1)
    for _ in range(3):
        (episodes, metrics, _), (again, same, _) = one.step(), two.step()
        assert (episodes, metrics) == (again, same)
        other.step()
    assert equal(one.policy.state(), two.policy.state())
    assert not equal(one.policy.state(), other.policy.state())


def test_train_metrics_hold_no_clock() -> None:
    """Timings come apart."""
    _, metrics, seconds = trainer().step()
    assert seconds.keys() == {"rollout_s", "score_s", "update_s"}
    assert not [name for name in metrics if name.endswith("_s") or "time" in name]
    assert metrics["credit/schedule"] == 1.0
    assert 0 < metrics["train/success"] < 1


def test_train_refreshes_the_stale_teacher_and_keeps_the_anchor() -> None:
    """hindsight.refresh=2: taken before updates 0, 2, 4; the initial weights never change."""
    one = trainer(hindsight={"refresh": 2})
    start, teacher = one.policy.state(), one.policy.state()
    for update in range(5):
        before = one.policy.state()
        one.step()
        teacher = before if update % 2 == 0 else teacher
        assert equal(one.teacher, teacher) and equal(one.teacher_weights(), teacher)
        assert equal(one.initial, start)
        assert not equal(one.policy.state(), before)


@pytest.mark.parametrize("which", ["stale", "live", "initial"])
def test_train_scores_with_the_teacher_asked_for(which: str) -> None:
    """After three updates with refresh 2 these are three sets of weights."""
    one = trainer(hindsight={"refresh": 2, "teacher": which})
    start = one.policy.state()
    one.step()
    one.step()
    second = one.policy.state()
    one.step()
    expected = {"stale": second, "live": one.policy.state(), "initial": start}
    for name, weights in expected.items():
        scoring = one.teacher_weights() or one.policy.state()  # none are the policy's own
        assert equal(scoring, weights) == (name == which)


def test_train_step_opsd_without_mixing_is_grpo() -> None:
    """lambda_mix=0: the same weights to the bit, and other weights at the paper's 0.2."""
    grpo = trainer(credit.make("grpo"))
    none = trainer(credit.make("step_opsd", lambda_mix=0.0))
    paper = trainer()
    for _ in range(3):
        grpo.step(), none.step(), paper.step()
    assert equal(grpo.policy.state(), none.policy.state())
    assert not equal(grpo.policy.state(), paper.policy.state())


@dataclass(frozen=True)
class ReadsTheReference(GRPO):
    """GRPO that asks for a column which the KL term uses, too."""

    needs: ClassVar[frozenset[str]] = frozenset({"ref_logprobs"})


def test_train_keeps_its_kl_to_the_initial_weights_whatever_the_method_reads() -> None:
    """The figures and weights of plain GRPO; once the policy has moved, the KL is above zero."""
    one, other = (trainer(method, learner={"kl_coef": 0.1}) for method in (GRPO(), ReadsTheReference()))
    assert one.initial is not None
    for learning in (one, other):
        learning.policy.load_state({name: 1.1 * weight for name, weight in one.initial.items()})
    metrics = [learning.step()[1] for learning in (one, other)]
    assert metrics[0] == metrics[1] and metrics[0]["update/kl"] > 1e-3
    assert equal(one.policy.state(), other.policy.state())


def test_train_step_opsd_after_its_schedule_is_grpo() -> None:
    """From the update at which the factor is 0 the teacher is not even asked."""

    def after_one_update(seed: int) -> Trainer:
        begun = trainer(seed=seed, schedule={"decay_updates": 1})
        begun.step()
        return begun

    one = draw_until(after_one_update, lambda begun: bool(mixed_groups(begun.collect())))
    assert one.needs == frozenset() and one.schedule == 0
    other = trainer(credit.make("grpo"), seed=one.config.seed)
    other.policy.load_state(one.policy.state())
    for mine, theirs in zip(one.learner.optimizers, other.learner.optimizers, strict=True):
        theirs.load_state_dict(deepcopy(mine.state_dict()))
    other.update = one.update
    before = one.counters.scored
    (episodes, *_), (again, *_) = one.step(), other.step()
    assert episodes == again and equal(one.policy.state(), other.policy.state())
    assert one.counters.scored - before == other.counters.scored > 0  # the reference's pass alone


def test_train_constant_schedule_stays() -> None:
    """The factor does not fall."""
    one = trainer(schedule={"kind": "constant", "decay_updates": 1})
    assert [metrics["credit/schedule"] for metrics in run(one, 3)] == [1.0, 1.0, 1.0]


def test_train_kl_anchor_can_be_switched_off() -> None:
    """Without it there is no reference pass; the distance is zero before the first update only."""
    with_anchor = list(run(trainer(learner={"kl_coef": 0.1}), 2))
    assert with_anchor[0]["update/kl"] == pytest.approx(0, abs=1e-9)
    assert with_anchor[1]["update/kl"] > 0
    assert all(metrics["update/kl"] == 0 for metrics in run(trainer(learner={"kl_coef": 0.0}), 2))


def test_train_rescored_old_logprobs_give_nearly_the_same_update() -> None:
    """Recorded ones are those of one pass to rounding, so both ways lead to one place."""
    recorded, rescored = trainer(), trainer(learner={"rescore_old": True})
    start = recorded.policy.state()
    recorded.step(), rescored.step()
    first, second = recorded.policy.state(), rescored.policy.state()
    # Not weight by weight: AdamW turns a gradient of rounding errors into a whole step of either sign.
    moved = sum(float((first[name] - start[name]).abs().sum()) for name in first)
    apart = sum(float((first[name] - second[name]).abs().sum()) for name in first)
    assert 0 < apart < 0.02 * moved


@pytest.mark.parametrize("mini_batches", [1, 2])
def test_train_takes_the_old_logprobs_that_were_recorded(mini_batches: int) -> None:
    """Without teacher and reference no pass is made before the update, unless it is asked for."""
    settings = {"kl_coef": 0.0, "mini_batches": mini_batches}
    one, other = (trainer(credit.make("grpo"), learner={**settings, "rescore_old": s}) for s in (False, True))
    episodes = one.collect()
    old = one.score(episodes).tokens.old_logprobs
    assert torch.equal(old, collate(episodes, pad_id=one.policy.pad_id).tokens.old_logprobs)
    one.step(), other.step()
    assert one.counters.scored == 0 < other.counters.scored


def test_train_counts_what_it_consumes() -> None:
    """Steps and tokens of the records, over two updates."""
    one = trainer()
    episodes = [episode for _ in range(2) for episode in one.step()[0]]
    steps = [step for episode in episodes for step in episode.steps[1:]]
    assert one.counters.env_steps == len(steps)
    assert one.counters.generated == sum(len(step.tokens.sampled_ids) for step in steps if step.tokens)
    assert one.counters.trained > one.counters.generated
    assert one.counters.errors == 0


class Broken(gym.Wrapper[str, str, str, str]):
    """Fails at the first step of every episode of group 1, which its seed tells."""

    seeds: frozenset[int] = frozenset()

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[str, dict[str, Any]]:
        """Note the seed."""
        self.seed = seed
        return self.env.reset(seed=seed, options=options)

    def step(self, action: str) -> tuple[str, SupportsFloat, bool, bool, dict[str, Any]]:
        """Fail when due."""
        if self.seed in self.seeds:
            raise OSError("the simulator's server is gone")
        return self.env.step(action)


@pytest.mark.parametrize("broken", [{1}, {0, 1}])
def test_train_leaves_groups_with_errors_out_and_goes_on(
    broken: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Their episodes are records; with no whole group left there is no update, and the next one comes."""
    one = trainer()
    config = one.config.env
    one.envs = [
        make_text_env(Broken(gym.make(config.id, **env_arguments(config))), format="plain") for _ in range(2)
    ]
    attempts = groups(one.envs[0], count=2, size=4, seed=0)
    monkeypatch.setattr(Broken, "seeds", frozenset(a.seed for a in attempts if a.group in broken))
    before = one.policy.state()
    episodes, metrics, _ = one.step()
    assert {e.group for e in episodes if e.failed} == broken
    assert {e.group for e in whole_groups(episodes)} == {0, 1} - broken
    assert one.counters.errors == 4 * len(broken)
    assert ("update/loss" in metrics) == (broken == {1})
    assert equal(one.policy.state(), before) == (broken == {0, 1})
    _, metrics, _ = one.step()
    assert "update/loss" in metrics


@pytest.mark.parametrize("method", ["step_opsd", pytest.param("grpo", marks=pytest.mark.slow)])
def test_train_learns_to_leave_mistakes(method: str) -> None:
    """A model cloned from an erring expert, mistakes and all, often loses where few slips are allowed.

    It has nothing to learn but which of the commands it gives are worth giving. One run of two has to rise by
    20 points: a run's rise varies by about 10 points, that of a model that learns nothing by 6 around none.
    """
    wavering = [
        replace(one, turns=tuple(replace(turn, label=turn.command) for turn in one.turns))
        for one in demonstrations(400, mistake_rate=0.3)
    ]
    policy = cloned(wavering)
    start = policy.state()
    settings: dict[str, Any] = dict(
        env={"step_limit": 8},
        rollout={"tasks": 1, "group_size": 32, "slots": 32},
        hindsight={"peer": "commands"},
        learner={"lr": 1e-3, "kl_coef": 0.0, "mini_batches": 4},
    )

    def success(seed: int) -> tuple[float, float]:
        policy.load_state(start)
        one = Trainer(run_config(seed=seed, **settings), credit.make(method), policy)
        rates = [metrics["train/success"] for metrics in run(one, 18)]
        return sum(rates[:3]) / 3, sum(rates[-5:]) / 5

    first, _ = draw_until(success, lambda rates: rates[1] > rates[0] + 0.2, most=2)
    assert first < 0.55


@pytest.mark.gpu
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_train_runs_and_is_restored_on_cuda(dtype: torch.dtype) -> None:
    """Two updates through every part; a second trainer that is restored from the first holds its weights."""

    def on_cuda() -> Trainer:
        policy = taught()
        torch.nn.Module.to(policy.model, dtype)  # transformers hides the types of its own `to`
        policy = Policy(policy.model, policy.tokenizer, "cuda", policy.prompt_format)
        return Trainer(run_config(device="cuda"), STEP_OPSD, policy)

    one, other = on_cuda(), on_cuda()
    for metrics in run(one, 2):
        assert all(math.isfinite(value) for value in metrics.values())
    restore_trainer(other, trainer_tensors(one), trainer_state(one))
    assert other.update == 2 and equal(one.policy.state(), other.policy.state())
    assert all(math.isfinite(value) for value in other.step()[1].values())
