"""The optimizers of one model: AdamW, and Muon for the layers' matrices; both work on full-precision weights.

Muon (Jordan et al. 2024, torch.optim.Muon) orthogonalises the momentum of a matrix. On the tiny models that
are trained here from random weights it needs a fraction of AdamW's updates; pretrained models stay with
AdamW.
"""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn import Parameter

from stepopsd_agent.models import Policy

_HALF = (torch.float16, torch.bfloat16)


def learning_rate_factor(update: int, updates: int, schedule: str, warmup: int) -> float:
    """Factor of the learning rates at one of a run's ``updates``, counted from 0.

    It rises on a line over the first ``warmup`` updates and is 1 in the one after them. Schedule "linear"
    multiplies it by a factor that falls from 1 at the first update to 1 / updates at the last.

    Raises:
        ValueError: ``update`` is negative.
    """
    if update < 0:
        raise ValueError(f"update is {update}; updates count from 0")
    rising = min(1.0, (update + 1) / (warmup + 1))
    return rising * (1.0 - update / updates if schedule == "linear" else 1.0)


class MasterWeights:
    """Full-precision copies of half-precision weights, for optimizers to work on.

    bfloat16 has three digits: an update of 1e-6 to a weight of 0.02 would be rounded away, every time. The
    copies keep it, and gradients are added up in them; the model gets them rounded. Weights in full
    precision are their own copies.

    Attributes:
        trained: for each weight its copy, or itself, in the order given.
    """

    def __init__(self, parameters: Sequence[Parameter]) -> None:
        """Copy those that need it."""
        self._of = {id(p): Parameter(p.detach().float()) if p.dtype in _HALF else p for p in parameters}
        self.trained = list(self._of.values())
        self._pairs = [(p, self._of[id(p)]) for p in parameters if p.dtype in _HALF]

    def of(self, parameter: Parameter) -> Parameter:
        """The copy of one weight, or itself."""
        return self._of[id(parameter)]

    def with_frozen(self, model: torch.nn.Module) -> list[Parameter]:
        """All that decides what the model says: `trained`, and those of its weights that stay."""
        return [*self.trained, *(p for p in model.parameters() if not p.requires_grad)]

    def gather(self) -> None:
        """Add the model's gradients to those of the copies, and forget the former."""
        for weight, copy in self._pairs:
            if weight.grad is not None:
                gradient = weight.grad.float()
                copy.grad = gradient if copy.grad is None else copy.grad.add_(gradient)
                weight.grad = None

    def clip(self, most: float) -> float:
        """Scale the gradients so that their common norm is at most ``most``; return the norm that they had.

        Where processes share the weights out it is the norm of the whole, and every process calls this:
        ``torch.nn.utils.clip_grad_norm_`` of PyTorch 2.9 returns one process's, and scales in float32.
        """
        gradients = [weight.grad for weight in self.trained if weight.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        norm = norm.full_tensor() if isinstance(norm, DTensor) else norm
        torch.nn.utils.clip_grads_with_norm_(self.trained, most, norm)
        return float(norm)

    def publish(self) -> None:
        """Round the copies into the model."""
        with torch.no_grad():
            for weight, copy in self._pairs:
                weight.copy_(copy)

    def forget_gradients(self) -> None:
        """No gradients anywhere."""
        for weight in [*self.trained, *(weight for weight, _ in self._pairs)]:
            weight.grad = None

    def tensors(self) -> dict[str, Tensor]:
        """The copies by number, for a checkpoint; empty where there are none."""
        return {str(k): copy.detach().cpu().clone() for k, (_, copy) in enumerate(self._pairs)}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Take the copies from a checkpoint's `tensors`."""
        with torch.no_grad():
            for k, (_, copy) in enumerate(self._pairs):
                copy.copy_(tensors[str(k)])


def averaged(before: Mapping[str, Tensor], now: Mapping[str, Tensor], rate: float) -> dict[str, Tensor]:
    """Weights moved by ``rate`` towards those of now, in float32 at least.

    In bfloat16 a small step towards weights that are near would be rounded away, every time.
    """
    wide = {name: torch.promote_types(weight.dtype, torch.float32) for name, weight in before.items()}
    return {name: w.to(wide[name]).lerp(now[name].to(wide[name]), rate) for name, w in before.items()}


def make_optimizers(
    policy: Policy,
    *,
    lr: float,
    muon_lr: float,
    weight_decay: float,
    betas: tuple[float, float],
    masters: MasterWeights | None = None,
) -> list[torch.optim.Optimizer]:
    """AdamW for every trainable weight; with ``muon_lr`` > 0 Muon takes the layers' matrices from it.

    Args:
        policy: whose weights to train.
        lr: AdamW's learning rate.
        muon_lr: Muon's learning rate; 0 leaves everything to AdamW.
        weight_decay: of both.
        betas: AdamW's.
        masters: copies of the trained weights to work on in their place.

    Returns:
        AdamW, then Muon; one of them alone where the other has nothing to do, as AdamW in an adapter whose
        weights are all matrices.
    """
    model = policy.model
    ends = {id(end.weight) for end in (model.get_input_embeddings(), model.get_output_embeddings())}  # type: ignore[no-untyped-call]
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if muon_lr and p.ndim == 2 and id(p) not in ends]
    taken = set(map(id, matrices))
    rest = [p for p in trained if id(p) not in taken]
    if masters is not None:
        rest, matrices = [masters.of(p) for p in rest], [masters.of(p) for p in matrices]
    made: list[torch.optim.Optimizer] = []
    if rest or not matrices:
        # On CUDA the default would hold further copies of all weights while it steps.
        fused = any(p.is_cuda for p in rest) or None
        made.append(torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=betas, fused=fused))
    if matrices:
        made.append(torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay))
    return made


def set_rates(optimizers: Sequence[torch.optim.Optimizer], lr: float, muon_lr: float, rate: float) -> None:
    """Set every optimizer's learning rate to ``rate`` times its own: Muon's, or that of AdamW."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate * (muon_lr if isinstance(optimizer, torch.optim.Muon) else lr)
