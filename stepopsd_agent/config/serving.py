"""Settings of a model on a server with OpenAI's chat API: the section ``openai``."""

from dataclasses import dataclass

from stepopsd_agent.config.limits import at_least


@dataclass
class OpenAIConfig:
    """The served model of ``--agent openai``. Its key is read from OPENAI_API_KEY and never recorded.

    Attributes:
        url: base URL of the API, such as http://localhost:8000/v1.
        model: name of the model; if absent, the only one that the server lists.
        concurrency: episodes played in parallel, each with one request at a time.
        deadline: seconds for one response, retries included.
        retries: how often a request is repeated that timed out, was refused, or met a busy or failing server.
        backoff: seconds before the first retry, doubled for each further one; a ``Retry-After`` of the server
            replaces it.
    """

    url: str = "http://localhost:8000/v1"
    model: str | None = None
    concurrency: int = at_least(1, 8)
    deadline: float = at_least(0, 120.0)
    retries: int = at_least(0, 5)
    backoff: float = at_least(0, 0.5)
