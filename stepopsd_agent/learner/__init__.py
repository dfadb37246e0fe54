"""The policy update, and the columns and models that it needs."""

from stepopsd_agent.learner.cloning import Example, clone, clone_loss, examples
from stepopsd_agent.learner.columns import Cost, check_recorded, fill, recorded_columns
from stepopsd_agent.learner.critic import Critic
from stepopsd_agent.learner.learner import Learner
from stepopsd_agent.learner.monte_carlo import FreshAttempts, monte_carlo_values
from stepopsd_agent.learner.optimizer_state import load_optimizer, optimizer_tensors
from stepopsd_agent.learner.optimizers import MasterWeights, make_optimizers

__all__ = [
    "Cost",
    "Critic",
    "Example",
    "FreshAttempts",
    "Learner",
    "MasterWeights",
    "check_recorded",
    "clone",
    "clone_loss",
    "examples",
    "fill",
    "load_optimizer",
    "make_optimizers",
    "monte_carlo_values",
    "optimizer_tensors",
    "recorded_columns",
]
