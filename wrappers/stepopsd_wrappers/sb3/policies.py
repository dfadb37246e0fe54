"""Policies of stable-baselines3 that score candidate commands (extra ``sb3``).

They read the observations of `EncodeText`. They learn from words, not from action numbers, so what they learn
transfers to games with other commands.
"""

from typing import Any

import torch
from gymnasium.error import DependencyNotInstalled
from torch import Tensor, nn

from stepopsd_envs.extras import install_command
from stepopsd_wrappers.sb3.encode_text import TextFeatures
from stepopsd_wrappers.sb3.scorer import CandidateScorer

try:
    from sb3_contrib.common.maskable.policies import MaskableActorCriticPolicy
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
except ImportError as error:
    raise DependencyNotInstalled(
        f"the policies of stepopsd_wrappers.sb3 need stable-baselines3: {install_command('sb3')}"
    ) from error


class CandidateExtractor(nn.Module):
    """Candidate scores as the latent of the actor, state and mean candidate as that of the critic."""

    def __init__(self, space: TextFeatures, hidden: int) -> None:
        super().__init__()
        self.scorer = CandidateScorer(space.size, hidden)
        self.latent_dim_pi, self.latent_dim_vf = space.candidates, 2 * hidden

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """[B, N] and [B, 2 * hidden]."""
        scores, state = self.scorer(features)
        return scores, state

    def forward_actor(self, features: Tensor) -> Tensor:
        """[B, N] scores, the logits of the candidates."""
        return self.forward(features)[0]

    def forward_critic(self, features: Tensor) -> Tensor:
        """[B, 2 * hidden] input of the value head."""
        return self.forward(features)[1]


class _ActorCritic:
    """Shared part of the two actor-critic policies; it comes before the policy among the base classes."""

    def __init__(self: Any, observation_space: Any, *args: Any, hidden: int = 64, **kwargs: Any) -> None:
        self.hidden = hidden
        super().__init__(_text_features(observation_space), *args, **kwargs)  # type: ignore[call-arg]

    def _build_mlp_extractor(self: Any) -> None:
        self.mlp_extractor = CandidateExtractor(self.observation_space, self.hidden)

    def _build(self: Any, lr_schedule: Any) -> None:
        super()._build(lr_schedule)  # type: ignore[misc]  # of the policy
        self.action_net = nn.Identity()  # the scores are the logits
        with torch.no_grad():
            self.mlp_extractor.scorer.score[-1].weight.mul_(0.01)  # start from the uniform policy
        self.register_buffer("encoder_name", _as_tensor(self.observation_space.encoder))
        parameters, rate = self.parameters(), lr_schedule(1)
        self.optimizer = self.optimizer_class(parameters, lr=rate, **self.optimizer_kwargs)

    def _get_constructor_parameters(self: Any) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "hidden": self.hidden}  # type: ignore[misc]  # likewise


class MaskableCandidatePolicy(_ActorCritic, MaskableActorCriticPolicy):
    """For ``MaskablePPO(MaskableCandidatePolicy, EncodeText(AdmissibleActions(env)))``."""


class CandidatePolicy(_ActorCritic, ActorCriticPolicy):
    """For PPO and A2C, without masks."""


class CandidateQNetwork(QNetwork):
    """Action values of the candidates."""

    def __init__(self, *args: Any, hidden: int, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "net_arch": []})
        self.q_net = nn.Identity()
        self.scorer = CandidateScorer(self.observation_space.size, hidden)

    def forward(self, obs: Any) -> Tensor:
        """[B, N] action values."""
        scores: Tensor = self.scorer(self.extract_features(obs, self.features_extractor))[0]
        return scores


class CandidateQPolicy(DQNPolicy):
    """For ``DQN(CandidateQPolicy, EncodeText(AdmissibleActions(env)))``."""

    def __init__(self, observation_space: Any, *args: Any, hidden: int = 64, **kwargs: Any) -> None:
        self.hidden = hidden
        super().__init__(_text_features(observation_space), *args, **kwargs)
        self.register_buffer("encoder_name", _as_tensor(self.observation_space.encoder))

    def make_q_net(self) -> CandidateQNetwork:
        """A network of candidates."""
        arguments = self._update_features_extractor(self.net_args, features_extractor=None)
        network: CandidateQNetwork = CandidateQNetwork(**arguments, hidden=self.hidden).to(self.device)
        return network

    def _get_constructor_parameters(self) -> dict[str, Any]:
        return {**super()._get_constructor_parameters(), "hidden": self.hidden}


def _text_features(space: Any) -> TextFeatures:
    if isinstance(space, TextFeatures):
        return space
    raise TypeError(
        f"this policy reads the observations of EncodeText, but got {space}: wrap the environment, "
        "EncodeText(AdmissibleActions(env)), and nothing around it that changes observations"
    )


def _as_tensor(name: str) -> Tensor:
    """The encoder's name as a part of the weights, so that they can be read without unpickling anything."""
    return torch.tensor(list(name.encode()), dtype=torch.uint8)
