"""Load models that stable-baselines3 saved, without executing what is in the file.

The loader of stable-baselines3 unpickles, which can run any code. Here only the weights are read, by a loader
that accepts tensors only, into a network made here. So it works for the policies of this package, and does
not need stable-baselines3.
"""

import io
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from stepopsd_wrappers.sb3.scorer import CandidateScorer

WEIGHTS, MAX_BYTES = "policy.pth", 2**30
_PLACES = {"mlp_extractor.scorer.": True, "q_net.scorer.": False}
"""Prefixes of the scorer's weights, each with whether its scores are logits."""


class SavedModelError(ValueError):
    """The file is not a saved model that can be read; the message says why."""


class SavedScorer(NamedTuple):
    """A scorer that was loaded."""

    scorer: CandidateScorer
    encoder: str
    """Name of the encoder that its texts need."""
    logits: bool
    """Whether the scores are logits of a policy; else they are action values."""


def load_scorer(path: str | os.PathLike[str]) -> SavedScorer:
    """The network of a model saved by ``model.save(path)``.

    Raises:
        FileNotFoundError: there is no such file.
        SavedModelError: it is another kind of file, or a model with another policy.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        file = file.with_name(f"{file.name}.zip")  # as the loader of stable-baselines3 does
    if not file.is_file():
        raise FileNotFoundError(f"{path}: there is no such saved model")
    weights = _weights(file)
    for prefix, logits in _PLACES.items():
        scorer_weights = {
            name.removeprefix(prefix): w for name, w in weights.items() if name.startswith(prefix)
        }
        if scorer_weights and "encoder_name" in weights:
            encoder = bytes(weights["encoder_name"].tolist()).decode("utf-8", "replace")
            return SavedScorer(_scorer(scorer_weights, file), encoder, logits)
    raise SavedModelError(
        f"{file} has another policy than those of stepopsd_wrappers.sb3 (MaskableCandidatePolicy, "
        "CandidatePolicy, CandidateQPolicy): to play it, its file would have to be unpickled, which can run "
        "any code; train with one of these policies"
    )


def _weights(file: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(file) as archive:
            if archive.getinfo(WEIGHTS).file_size > MAX_BYTES:
                raise SavedModelError(f"{file}: its weights have more than {MAX_BYTES} bytes")
            content = io.BytesIO(archive.read(WEIGHTS))
    except (zipfile.BadZipFile, KeyError) as error:
        raise SavedModelError(f"{file} is no model that stable-baselines3 saved: {error}") from error
    try:
        weights = torch.load(content, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError) as error:
        raise SavedModelError(
            f"{file} holds more than weights, or damaged ones, and is not loaded"
        ) from error
    if not isinstance(weights, dict) or not all(isinstance(w, torch.Tensor) for w in weights.values()):
        raise SavedModelError(f"{file} holds something else than weights")
    return weights


def _scorer(weights: dict[str, Any], file: Path) -> CandidateScorer:
    try:
        hidden, width = weights["state.0.weight"].shape
        scorer = CandidateScorer(width // 3, hidden)
        scorer.load_state_dict(weights)
    except (KeyError, ValueError, RuntimeError) as error:
        raise SavedModelError(f"{file} has a candidate scorer of another shape: {error}") from error
    return scorer.eval()
