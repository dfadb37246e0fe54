"""The policy's weights under the names and in the form in which an engine reads them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from stepopsd_agent.models import Policy, merged_weights
from stepopsd_agent.rollout.engines.errors import EngineError


def engine_weights(policy: Policy) -> dict[str, Tensor]:
    """All weights by their names in a model folder; an adapter is merged in.

    A tied output layer is among them beside the embedding that it equals: an engine that is not sent both
    goes on with the old one and does not say so.
    """
    model = policy.model
    weights = merged_weights(model) if policy.adapted else model.state_dict()
    return {name: weight.detach() for name, weight in weights.items()}


def save_for_engine(policy: Policy, folder: Path) -> None:
    """Write the policy as a folder that an engine starts from.

    Raises:
        EngineError: the model's weights have other names in a folder than in the network, so that they could
            not be sent later; or the folder has no room for them.
    """
    with _room_for_weights(folder):
        policy.save(folder)
    written: set[str] = set()
    for path in folder.glob("*.safetensors"):
        with safe_open(path, "pt") as file:
            written |= set(file.keys())
    if unknown := sorted(written - set(engine_weights(policy))):
        raise EngineError(
            f"{type(policy.model).__name__} stores its weights under other names than it trains them, such "
            f"as {unknown[0]}, so they cannot be sent to vLLM after an update: set rollout.backend to builtin"
        )


def write_weights(policy: Policy, folder: Path) -> None:
    """Write the weights alone, as one file; the copy that replaces an older one is never half there.

    Raises:
        EngineError: the folder has no room for them.
    """
    new = folder / "new.tmp"
    tensors = {name: weight.cpu().clone().contiguous() for name, weight in engine_weights(policy).items()}
    with _room_for_weights(folder):
        safetensors.torch.save_file(tensors, new, metadata={"format": "pt"})
        new.rename(folder / "model.safetensors")


@contextmanager
def _room_for_weights(folder: Path) -> Iterator[None]:
    try:
        yield
    except (SafetensorError, OSError) as error:
        raise EngineError(
            f"{folder}: cannot write the weights for the engine ({error}); make room there, or let TMPDIR "
            "name a folder with more"
        ) from error
