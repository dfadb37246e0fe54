"""The vector environment of questions in one process."""

from stepopsd_envs.search_qa.env import SearchQAEnv
from stepopsd_envs.text_vector import TextVectorEnv


class SearchQAVectorEnv(TextVectorEnv):
    """Questions in parallel; the searches of a step are one call of the retriever."""

    env_type = SearchQAEnv
