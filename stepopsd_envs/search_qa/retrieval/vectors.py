"""Vector search: exact or approximate with FAISS, and exact on a GPU with PyTorch in half precision."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium.error import DependencyNotInstalled
from numpy.typing import NDArray

from stepopsd_envs.extras import install_command

Vectors = NDArray[np.float32]
Matrix = NDArray[np.float16]
Nearest = Callable[[Vectors, int], tuple[Vectors, NDArray[np.int64]]]
"""Maps query vectors and k to scores and row numbers, both [queries, k], best first; -1 means no row."""

NEIGHBOURS, EFFORT_BUILD, EFFORT_SEARCH = 32, 200, 128  # HNSW's M, efConstruction and efSearch
ROWS = 1 << 18  # rows per block


def flat(matrix: Matrix) -> Nearest:
    """Exact search on the CPU, in float32."""
    faiss = _faiss()
    index = faiss.IndexFlatIP(matrix.shape[1])
    for start in range(0, len(matrix), ROWS):
        index.add(matrix[start : start + ROWS].astype(np.float32))
    return lambda queries, k: index.search(queries, k)


def write_hnsw(matrix: Matrix, path: Path, advance: Callable[[int], object]) -> None:
    """Build the HNSW graph; the file appears only when it is complete."""
    faiss = _faiss()
    index = faiss.IndexHNSWFlat(matrix.shape[1], NEIGHBOURS, faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = EFFORT_BUILD
    advance(0)  # shows that the work has begun
    block = 4096
    for start in range(0, len(matrix), block):
        rows = matrix[start : start + block].astype(np.float32)
        index.add(rows)
        advance(len(rows))
    unfinished = path.with_name(f"unfinished-{path.name}")
    faiss.write_index(index, str(unfinished))
    unfinished.replace(path)


def hnsw(path: Path) -> Nearest:
    """Approximate search on the CPU with the HNSW graph in a file."""
    faiss = _faiss()
    index = faiss.read_index(str(path))

    def nearest(queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        index.hnsw.efSearch = max(EFFORT_SEARCH, k)
        scores, numbers = index.search(queries, k)
        return scores, numbers

    return nearest


def on_device(matrix: Matrix, device: str) -> Nearest:
    """Exact search with PyTorch in half precision on any device; the order of equal scores is undefined."""
    import torch

    rows = torch.empty(matrix.shape, dtype=torch.float16, device=device)
    for start in range(0, len(matrix), ROWS):
        rows[start : start + ROWS] = torch.from_numpy(np.array(matrix[start : start + ROWS]))

    def nearest(queries: Vectors, k: int) -> tuple[Vectors, NDArray[np.int64]]:
        asked = torch.from_numpy(queries).to(device, torch.float16)
        best: Any = None
        for start in range(0, len(rows), ROWS):  # in blocks, since all scores at once may not fit into memory
            scores = (asked @ rows[start : start + ROWS].T).float()
            top = scores.topk(min(k, scores.shape[1]), dim=1)
            both = block = (top.values, top.indices + start)
            if best is not None:
                both = (torch.cat((best[0], block[0]), dim=1), torch.cat((best[1], block[1]), dim=1))
            keep = both[0].topk(min(k, both[0].shape[1]), dim=1)
            best = keep.values, both[1].gather(1, keep.indices)
        return best[0].cpu().numpy(), best[1].cpu().numpy()

    return nearest


def set_threads(count: int) -> None:
    """Set the number of threads that FAISS uses in this process."""
    _faiss().omp_set_num_threads(count)


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise DependencyNotInstalled(f"dense retrieval needs FAISS: {install_command('search')}") from error
    return faiss
