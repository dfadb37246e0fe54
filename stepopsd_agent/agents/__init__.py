"""Agents: anything that turns an observation into an action."""

from stepopsd_agent.agents.base import Agent
from stepopsd_agent.agents.expert import ExpertAgent
from stepopsd_agent.agents.oracle import OracleAgent
from stepopsd_agent.agents.random import RandomAgent

__all__ = ["Agent", "ExpertAgent", "OracleAgent", "RandomAgent"]
