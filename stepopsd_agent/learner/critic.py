"""A critic: a copy of the policy's network with one number per token for an output, read where steps begin.

It is made only when a credit method needs values, and learns what that method's credit tells it to predict.
It is trained as the policy is: the same weights of it (with an adapter, an adapter of its own), packed rows,
recomputed layers, and rows shared by the processes of a group.
"""

from collections.abc import Callable
from copy import deepcopy

import torch
from torch import Tensor
from torch.distributed import ProcessGroup

from stepopsd_agent.batch import Batch, place_in_step
from stepopsd_agent.config import Attention, CriticConfig
from stepopsd_agent.learner.distributed import check_same_targets, own_share, sum_gradients, sum_values
from stepopsd_agent.learner.optimizer_state import load_optimizer, optimizer_tensors
from stepopsd_agent.learner.optimizers import MasterWeights
from stepopsd_agent.models import Policy, recomputed_layers
from stepopsd_agent.models.packed import TokenBudget, Tokens, in_parts, pack_rows, pack_states


class Critic:
    """Predicts, before every step, the sum of the rewards to come.

    Attributes:
        body: a copy of the policy's network, without its output layer; weights that are never trained, those
            below an adapter, are the policy's.
        head: from the network's last state to the value; zero at first, so that all values are.
        masters: full-precision copies of what is trained of both, where it is in half precision.
        optimizer: AdamW over these.
        budget: tokens per pass of an update.
        group: processes that share every update, each with the whole batch; None for this process alone.
    """

    def __init__(
        self,
        policy: Policy,
        config: CriticConfig | None = None,
        *,
        tokens_per_pass: Tokens = "auto",
        attention: Attention = "auto",
        gradient_checkpointing: bool = False,
        group: ProcessGroup | None = None,
    ) -> None:
        """Copy the policy's network as it is now; settings as in `CriticConfig` and `LearnerConfig`."""
        self.config, self.device = config or CriticConfig(), policy.device
        self.backend = policy.attention(attention)
        self.budget = TokenBudget(tokens_per_pass, policy.device)
        self.group, self._recompute = group, gradient_checkpointing
        network: torch.nn.Module = policy.model.base_model
        frozen: dict[int, object] = {id(p): p for p in network.parameters() if not p.requires_grad}
        self.body = deepcopy(network, frozen)
        self.head = torch.nn.Linear(policy.model.config.hidden_size, 1).to(policy.device, policy.model.dtype)
        torch.nn.init.zeros_(self.head.weight)
        torch.nn.init.zeros_(self.head.bias)
        self.parameters = [weight for _, weight in self._named()]
        self.masters = MasterWeights(self.parameters)
        self.optimizer = torch.optim.AdamW(
            self.masters.trained, lr=self.config.lr, weight_decay=self.config.weight_decay
        )

    def values(self, batch: Batch, budget: TokenBudget) -> Tensor:
        """[S] values, each read at the last token before its step's first sampled one."""
        out = torch.zeros(batch.num_steps, device=self.device)

        def one_pass(rows: list[int]) -> None:
            with torch.inference_mode():
                steps, values = self._read(batch, torch.tensor(rows, device=self.device))
                out[steps] = values.float()

        self._in_parts(_lengths(batch), budget, one_pass, lambda: None)
        return out

    def learn(self, batch: Batch, targets: Tensor) -> dict[str, float]:
        """Make one update towards `targets` [S]; return the error and the variance explained before it.

        Where the gradient is not finite no weight changes, and the result is ``value_skipped``, 1.

        Raises:
            RuntimeError: a single row does not fit into memory, or the group's processes differ.
        """
        if self.group is not None:
            weights = self.masters.with_frozen(self.body)
            check_same_targets(batch, targets, self.config, weights, self.group)
        errors: list[float] = []
        rows = torch.arange(batch.num_rows, device=self.device)
        mine = rows if self.group is None else own_share(rows, self.group)

        def begin() -> None:
            errors.clear()
            self.masters.forget_gradients()

        def one_pass(chosen: list[int]) -> None:
            steps, values = self._read(batch, mine[chosen])
            loss = (values - targets[steps].detach()).square().sum() / batch.num_steps
            (loss / 2).backward()  # type: ignore[no-untyped-call]
            self.masters.gather()
            errors.append(float(loss.detach()))

        with recomputed_layers(self.body, self._recompute):
            self._in_parts(_lengths(batch)[mine], self.budget, one_pass, begin)
        if self.group is not None:
            sum_gradients(self.masters.trained, self.group)
        if not self.masters.clip(self.config.max_grad_norm) < torch.inf:
            self.masters.forget_gradients()
            return {"value_skipped": 1.0}
        self.optimizer.step()
        self.masters.publish()
        self.masters.forget_gradients()  # the next rollout needs the memory
        total = {"value_loss": sum(errors)}
        if self.group is not None:
            total = sum_values(total, self.group, self.device)
        error, spread = total["value_loss"], float(targets.detach().var(correction=0))
        return {"value_loss": error, "explained_variance": 1 - error / spread if spread > 0 else 0.0}

    def _in_parts(
        self,
        lengths: Tensor,
        budget: TokenBudget,
        work: Callable[[list[int]], None],
        begin: Callable[[], None],
    ) -> None:
        how = {"padded": self.backend == "padded", "settled": bool(self.optimizer.state)}
        in_parts(budget, lengths.tolist(), work, begin=begin, **how)

    def tensors(self) -> dict[str, dict[str, Tensor]]:
        """The tensors of a checkpoint."""
        masters = self.masters.tensors()
        return {
            "critic": self._weights(),
            "critic_optimizer": optimizer_tensors(self.optimizer)[0],
            **({"critic_masters": masters} if masters else {}),
        }

    def state(self) -> dict[str, object]:
        """The rest of a checkpoint, JSON-able."""
        return optimizer_tensors(self.optimizer)[1]

    def restore(self, tensors: dict[str, dict[str, Tensor]], state: dict[str, object]) -> None:
        """Continue from a checkpoint."""
        with torch.no_grad():
            for name, weight in self._named():
                weight.copy_(tensors["critic"][name])
        self.masters.restore(tensors.get("critic_masters", {}))  # half-precision weights have them
        load_optimizer(self.optimizer, tensors["critic_optimizer"], state)

    def _read(self, batch: Batch, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Steps of these rows [M], and their values [M]."""
        tokens = batch.tokens.rows(rows)
        begins = place_in_step(tokens.step_of_token, batch.num_steps) == 0
        if self.backend == "padded":
            states = self.body(
                input_ids=tokens.input_ids, position_ids=tokens.position_ids, use_cache=False
            ).last_hidden_state[:, :-1][begins[:, 1:]]
        else:
            pack = pack_rows(tokens.input_ids, tokens.attention_mask, tokens.position_ids, begins)
            states = pack_states(self.body, pack, self.backend)[:, :-1][pack.select[:, 1:]]
        return tokens.step_of_token[begins], self.head(states)[:, 0].float()

    def _named(self) -> list[tuple[str, torch.nn.Parameter]]:
        """The trained weights."""
        every = [*self.body.named_parameters(prefix="body"), *self.head.named_parameters(prefix="head")]
        return [(name, weight) for name, weight in every if weight.requires_grad]

    def _weights(self) -> dict[str, Tensor]:
        """A copy of these weights on the CPU."""
        return {name: weight.detach().cpu().clone() for name, weight in self._named()}


def _lengths(batch: Batch) -> Tensor:
    """[N] tokens of each row."""
    return batch.tokens.attention_mask.sum(1)
