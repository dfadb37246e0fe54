"""A network that scores any number of candidate commands by their text."""

import torch
from torch import Tensor, nn

from stepopsd_wrappers.sb3.features import candidates_of


class CandidateScorer(nn.Module):
    """Scores each candidate by its vector and those of the state; all candidates share the weights.

    So what is learned about a command holds for every similar command, also in other games. The input of a
    candidate includes the observation that last followed it, the number of times it was given, and the words
    that command and observation share with the goal.
    """

    def __init__(self, size: int, hidden: int = 64) -> None:
        """Make it for vectors of this size."""
        super().__init__()
        self.size, self.hidden = size, hidden
        self.state = nn.Sequential(nn.Linear(3 * size, hidden), nn.ReLU(), nn.Linear(hidden, hidden))
        self.candidate = nn.Linear(4 * size + 1, hidden)
        self.match = nn.Linear(hidden, hidden)
        self.score = nn.Sequential(nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Score the candidates.

        Args:
            features: [B, F] vectors of `EpisodeFeatures`.

        Returns:
            [B, N] scores, and [B, 2 * hidden] the state with the mean of its candidates.
        """
        batch, size = features.shape[0], self.size
        count = candidates_of(features.shape[1], size)
        texts, commands, answers, given = torch.split(
            features, [3 * size, count * size, count * size, count], dim=1
        )
        goal = texts[:, None, size : 2 * size]  # (B, 1, d)
        commands, answers = commands.view(batch, count, size), answers.view(batch, count, size)
        parts = [commands, answers, commands * goal, answers * goal, given[:, :, None]]
        candidates = self.candidate(torch.cat(parts, dim=2))  # (B, N, H)
        state = self.state(texts)  # (B, H)
        scores = self.score(candidates + self.match(candidates * state[:, None]) + state[:, None])[:, :, 0]
        return scores, torch.cat([state, candidates.mean(dim=1)], dim=1).relu()
