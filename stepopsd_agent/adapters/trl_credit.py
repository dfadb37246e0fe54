"""The credit of each token as advantages in the loss of TRL's `GRPOTrainer`.

The hook is `Trainer.compute_loss`, the method of transformers that trainers override. TRL hands it
`inputs["advantages"]`, one number per row, and its loss takes as well one per token, for the sake of
subclasses. Everything else of the update stays TRL's: old log-probabilities, clipping, KL term, optimizer.
"""

from typing import Any

from torch import Tensor, nn

from stepopsd_agent.adapters.trl_history import SaveHistory, file_name, restore_history
from stepopsd_agent.adapters.trl_rollouts import TRLRollouts

_SAMPLING: dict[str, Any] = {"top_k": 0, "top_p": 1.0, "min_p": None, "repetition_penalty": 1.0}
"""Fields of `GRPOConfig` that say how TRL would draw, with their defaults."""


class StepCredit:
    """Put before `GRPOTrainer` in the bases of a class; tested with TRL 1.16.

    ``class Trainer(StepCredit, GRPOTrainer)`` trains on the advantages of ``rollouts``, which plays the
    episodes. In evaluation the loss is TRL's own, of one advantage per row.
    """

    def __init__(self, *arguments: Any, rollouts: TRLRollouts, **named: Any) -> None:
        """Make the trainer.

        Args:
            arguments: those of `GRPOTrainer`.
            rollouts: plays the episodes; it is TRL's `rollout_func` and reward function.
            named: those of `GRPOTrainer`, without `rollout_func`; `reward_funcs` is best left out, since
                rewards beside an episode's return are logged, but do not change the advantages.

        Raises:
            ValueError: a setting of TRL's contradicts the rollouts.
        """
        if "rollout_func" in named or "environment_factory" in named:
            raise ValueError(
                "give rollouts alone: it takes the place of rollout_func and environment_factory"
            )
        if getattr(named.get("args"), "use_vllm", False):  # before TRL has started or asked an engine
            raise ValueError(
                "use_vllm is True in GRPOConfig, but the rollouts draw with a backend of their own: "
                "set it to False"
            )
        named.setdefault("reward_funcs", rollouts.reward)
        super().__init__(*arguments, rollout_func=rollouts, **named)  # type: ignore[call-arg]
        self.rollouts = rollouts
        settings: Any = self.args  # type: ignore[attr-defined]
        if settings.temperature != rollouts.params.temperature:
            raise ValueError(
                f"GRPOConfig has temperature {settings.temperature}, the rollouts "
                f"{rollouts.params.temperature}: give both the same, since TRL's loss divides by its own"
            )
        for name, usual in _SAMPLING.items():
            if (value := getattr(settings, name)) not in (usual, getattr(rollouts.params, name, usual)):
                raise ValueError(
                    f"GRPOConfig has {name} {value}, which the rollouts do not read: leave it out, and say "
                    "in their SamplingParams how they draw"
                )
        if settings.mask_truncated_completions:
            raise ValueError(
                "mask_truncated_completions would leave out every episode that does not end in an end token: "
                "set it to False"
            )

        if (history := rollouts.crediting.history) is not None:
            accelerator = self.accelerator  # type: ignore[attr-defined]
            self._file = file_name(accelerator.process_index, accelerator.num_processes)
            self.add_callback(SaveHistory(history, self._file))  # type: ignore[attr-defined]

    def train(self, resume_from_checkpoint: str | bool | None = None, *arguments: Any, **named: Any) -> Any:
        """Train, as `GRPOTrainer.train`; a checkpoint's history of tasks goes on with it.

        Raises:
            ValueError: the credit method reads a history, and the checkpoint has none.
        """
        history = self.rollouts.crediting.history
        if resume_from_checkpoint and history is not None:
            out = str(self.args.output_dir)  # type: ignore[attr-defined]
            restore_history(history, resume_from_checkpoint, out, self._file)
        return super().train(resume_from_checkpoint, *arguments, **named)  # type: ignore[misc]

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Tensor:
        """TRL's loss, with an advantage per token while it trains."""
        if model.training:
            inputs = {**inputs, "advantages": self.rollouts.advantages(inputs)}
        loss: Tensor = super().compute_loss(model, inputs, return_outputs, num_items_in_batch)  # type: ignore[misc]
        return loss
