"""The optimizers of one model: AdamW, and Muon for the weight matrices of the layers where asked for.

Muon (Jordan et al. 2024, torch.optim.Muon) orthogonalises the momentum of a matrix. On the tiny models that
are trained here from nothing it needs a fraction of AdamW's updates; pretrained models stay with AdamW.
"""

import torch

from stepopsd_agent.learner.master_weights import MasterWeights
from stepopsd_agent.models.policy import Policy


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
        AdamW first, then Muon if it has anything to do.
    """
    model = policy.model
    ends = {id(end.weight) for end in (model.get_input_embeddings(), model.get_output_embeddings())}  # type: ignore[no-untyped-call]
    trained = [p for p in model.parameters() if p.requires_grad]
    matrices = [p for p in trained if muon_lr and p.ndim == 2 and id(p) not in ends]
    taken = set(map(id, matrices))
    rest = [p for p in trained if id(p) not in taken]
    if masters is not None:
        rest, matrices = [masters.of(p) for p in rest], [masters.of(p) for p in matrices]
    # On CUDA the default would hold further copies of all weights while it steps.
    fused = any(p.is_cuda for p in rest) or None
    adamw = torch.optim.AdamW(rest, lr=lr, weight_decay=weight_decay, betas=betas, fused=fused)
    if not matrices:
        return [adamw]
    return [adamw, torch.optim.Muon(matrices, lr=muon_lr, weight_decay=weight_decay)]
