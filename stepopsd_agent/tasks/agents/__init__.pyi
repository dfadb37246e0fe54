from .base import Agent as Agent, MakeAgent as MakeAgent
from .custom import AgentError as AgentError, load_agent as load_agent
from .expert import Expert as Expert, ExpertAgent as ExpertAgent
from .oracle import OracleAgent as OracleAgent
from .random import RandomAgent as RandomAgent
from .sb3 import SB3Agent as SB3Agent
