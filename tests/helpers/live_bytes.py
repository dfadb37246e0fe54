"""Bytes of the tensors that are alive, and the most of them at once, on any device."""

import weakref
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class LiveBytes(TorchDispatchMode):
    """Counts what is made while it is entered.

    Attributes:
        now: bytes of storages that were made and are still there.
        peak: the most there were at once.
    """

    def __init__(self) -> None:
        """Begin at none."""
        super().__init__()  # type: ignore[no-untyped-call]
        self.now = self.peak = 0
        self._known = dict[int, Any]()

    def __torch_dispatch__(self, call: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation and note new storages."""
        before = {x.untyped_storage()._cdata for x in tree_leaves((args, kwargs)) if isinstance(x, Tensor)}
        out = call(*args, **(kwargs or {}))
        for storage in (x.untyped_storage() for x in tree_leaves(out) if isinstance(x, Tensor)):
            number = storage._cdata
            if number not in before and number not in self._known:
                self.now += storage.nbytes()
                self._known[number] = weakref.finalize(storage, self._gone, number, storage.nbytes())
        self.peak = max(self.peak, self.now)
        return out

    def _gone(self, number: int, size: int) -> None:
        self.now -= size
        del self._known[number]
