"""Full-precision copies of half-precision weights, for optimizers to work on.

bfloat16 has three digits: an update of 1e-6 to a weight of 0.02 would be rounded away, every time. The copies
keep it, and gradients are added up in them; the model gets them rounded. Weights in full precision are their
own copies.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import Parameter

_HALF = (torch.float16, torch.bfloat16)


class MasterWeights:
    """What optimizers see of a model's weights.

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

    def gather(self) -> None:
        """Add the model's gradients to those of the copies, and forget the former."""
        for weight, copy in self._pairs:
            if weight.grad is not None:
                gradient = weight.grad.float()
                copy.grad = gradient if copy.grad is None else copy.grad.add_(gradient)
                weight.grad = None

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
        """Take the copies from a checkpoint; from the model's weights where it has none."""
        with torch.no_grad():
            for k, (weight, copy) in enumerate(self._pairs):
                copy.copy_(tensors[str(k)] if tensors else weight)
