"""Agents: anything that turns an observation into an action."""

from stepopsd_agent.tasks.agents.base import Agent
from stepopsd_agent.tasks.agents.expert import ExpertAgent
from stepopsd_agent.tasks.agents.oracle import OracleAgent
from stepopsd_agent.tasks.agents.random import RandomAgent

__all__ = ["Agent", "ExpertAgent", "OracleAgent", "RandomAgent"]
