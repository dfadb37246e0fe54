"""A model behind a server with OpenAI's interface: the section ``openai`` of the settings."""

from dataclasses import dataclass

from stepopsd_agent.config.limits import at_least


@dataclass
class OpenAIConfig:
    """The served model that ``--agent openai`` asks. Its key is read from OPENAI_API_KEY, and never written.

    Attributes:
        url: of the interface, such as http://localhost:8000/v1.
        model: name of the model; when absent the one that the server lists.
        concurrency: requests under way at once, each of another episode.
        deadline: seconds for one response, its repetitions included.
        retries: repetitions of a request that timed out, or met a server that is busy or broken.
        backoff: seconds before the first repetition, doubled before each further one; a server that names a
            time is given it.
    """

    url: str = "http://localhost:8000/v1"
    model: str | None = None
    concurrency: int = at_least(1, 8)
    deadline: float = at_least(0, 120.0)
    retries: int = at_least(0, 5)
    backoff: float = at_least(0, 0.5)
