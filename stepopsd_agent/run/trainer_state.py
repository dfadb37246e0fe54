"""The state of a trainer, to and from checkpoints."""

from typing import Any

from torch import Tensor

from stepopsd_agent.learner import load_optimizer, optimizer_tensors
from stepopsd_agent.run.counters import Counters
from stepopsd_agent.run.trainer import Trainer


def trainer_tensors(trainer: Trainer) -> dict[str, dict[str, Tensor]]:
    """Everything a checkpoint must hold as tensors, by file."""
    learner, critic, history = trainer.learner, trainer.critic, trainer.history
    masters = learner.masters.tensors()
    moments = {f"optimizer_{k}": optimizer_tensors(o)[0] for k, o in enumerate(learner.optimizers)}
    return {
        "model": trainer.policy.state(),
        **({} if trainer.teacher is None else {"teacher": trainer.teacher}),
        **({} if trainer.initial is None else {"initial": trainer.initial}),
        **({"masters": masters} if masters else {}),
        **moments,
        **({} if critic is None else critic.tensors()),
        **({} if history is None else history.tensors()),
    }


def trainer_state(trainer: Trainer) -> dict[str, Any]:
    """Everything else a checkpoint must hold, JSON-able."""
    critic = trainer.critic
    return {
        "update": trainer.update,
        "counters": vars(trainer.counters),
        "factor": trainer.factor,
        "optimizers": [optimizer_tensors(o)[1] for o in trainer.learner.optimizers],
        "critic": {} if critic is None else critic.state(),
        "history": {} if trainer.history is None else trainer.history.state(),
        "budgets": {"update": trainer.learner.budget.tokens, "scoring": trainer.scorer.budget.tokens},
    }


def restore_trainer(trainer: Trainer, tensors: dict[str, dict[str, Tensor]], state: dict[str, Any]) -> None:
    """Continue from a checkpoint.

    Raises:
        ValueError: the checkpoint belongs to another model, other optimizers or another teacher.
    """
    learner = trainer.learner
    if len(state["optimizers"]) != len(learner.optimizers):
        raise ValueError(
            f"it has {len(state['optimizers'])} optimizers, this run {len(learner.optimizers)}; resume with "
            "the learner.muon_lr of the run that wrote it"
        )
    for name, kept in (("teacher", trainer.teacher), ("initial", trainer.initial)):
        if kept is not None and name not in tensors:
            raise ValueError(
                f"it has no {name} weights, which this run needs; resume with the credit method, "
                "learner.kl_coef and hindsight.teacher of the run that wrote it"
            )
    trainer.policy.load_state(tensors["model"])
    learner.masters.restore(tensors.get("masters", {}))  # half-precision models have them
    trainer.teacher = None if trainer.teacher is None else tensors["teacher"]
    trainer.initial = None if trainer.initial is None else tensors["initial"]
    learner.reference = trainer.initial
    for k, (optimizer, rest) in enumerate(zip(learner.optimizers, state["optimizers"], strict=True)):
        load_optimizer(optimizer, tensors[f"optimizer_{k}"], rest)
    if trainer.critic is not None:
        trainer.critic.restore(tensors, state["critic"])
    if trainer.history is not None:
        trainer.history.restore(tensors, state["history"])
    learner.budget.tokens = state["budgets"]["update"]
    trainer.scorer.budget.tokens = state["budgets"]["scoring"]
    trainer.factor, trainer.update = state["factor"], state["update"]
    trainer.counters = Counters(**state["counters"])
