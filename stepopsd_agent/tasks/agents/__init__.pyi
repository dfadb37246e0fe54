from .base import Agent as Agent
from .expert import Expert as Expert, ExpertAgent as ExpertAgent
from .oracle import OracleAgent as OracleAgent
from .random import RandomAgent as RandomAgent
