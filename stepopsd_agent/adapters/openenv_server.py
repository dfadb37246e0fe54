"""A registered text environment in the form of OpenEnv 0.10; `openenv_app` serves it."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from openenv.core.env_server import create_app
from openenv.core.env_server.interfaces import Environment
from openenv.core.env_server.types import Action, EnvironmentMetadata, Observation, State
from pydantic import Field

from stepopsd_agent.config import EnvConfig
from stepopsd_agent.tasks import get, make_plain_env, task_ids
from stepopsd_envs.alfworld.official import SPLITS

SHOWN = ("task_id", "task_type", "won", "step", "admissible_commands")
"""Keys of `info` that clients are shown, where the environment has them."""


class TextAction(Action):  # type: ignore[misc]
    """What the agent says: a command, or in Search-QA a response with a search or an answer."""

    text: str = Field(description="The command, or the whole response")


class TextObservation(Observation):  # type: ignore[misc]
    """What the environment says; `metadata` has `terminated`, `truncated` and the keys in `SHOWN`."""

    text: str = Field(description="The observation")


class TextEnvironment(Environment[TextAction, TextObservation, State]):  # type: ignore[misc]
    """One session: an environment of its own, reset as often as the client likes.

    The tasks of the environment are one split of OpenEnv's task API.
    """

    SUPPORTS_CONCURRENT_SESSIONS = True

    def __init__(self, env: EnvConfig) -> None:
        """Open the environment."""
        super().__init__()
        self._config, self._env = env, make_plain_env(env)
        self._split = _split_of(env)
        self._state = State()

    def reset(
        self,
        seed: int | None = None,
        episode_id: str | None = None,
        task_id: str | None = None,
        split: str | None = None,
        index: int | None = None,
        **more: Any,
    ) -> TextObservation:
        """Begin an episode.

        Args:
            seed: of the episode; None draws one.
            episode_id: a name for it.
            task_id: the task; without it, and without `index`, one is drawn.
            split: the name of the split, with `index`.
            index: number of the task in the split.
            more: of other versions of OpenEnv; not read.

        Raises:
            ValueError: there is no such task, split or number, or both ways name one.
        """
        if task_id is not None and index is not None:
            raise ValueError(f"task_id is {task_id!r} and index {index}: give one of the two")
        if index is not None:
            task_id = self.get_task(self._split if split is None else split, index)["id"]
        option = self._env.get_wrapper_attr("task_option")
        text, info = self._env.reset(seed=seed, options=None if task_id is None else {option: task_id})
        self._state = State(episode_id=episode_id, step_count=0, task_id=info["task_id"], total_reward=0.0)
        return self._observation(str(text), None, False, False, info)

    def step(self, action: TextAction, timeout_s: float | None = None, **more: Any) -> TextObservation:
        """Take a step.

        Args:
            action: what the agent says.
            timeout_s: not read: environments have limits of their own.
            more: of other versions of OpenEnv; not read.

        Raises:
            ResetNeeded: no episode is running.
        """
        text, reward, terminated, truncated, info = self._env.step(action.text)
        known = self._state.model_dump()
        known["step_count"] += 1
        known["total_reward"] += float(reward)
        self._state = State(**known)
        return self._observation(str(text), float(reward), terminated, truncated, info)

    @property
    def state(self) -> State:
        """The episode's name, task, number of steps and sum of rewards."""
        return self._state

    def close(self) -> None:
        """Close the environment."""
        self._env.close()

    def get_metadata(self) -> EnvironmentMetadata:
        """Name and version of the environment."""
        version = str(self._env.get_wrapper_attr("engine_version"))
        about = f"{self._config.id}: a text environment of StepOPSD"
        return EnvironmentMetadata(name=self._config.id, description=about, version=version)

    def list_splits(self) -> list[str]:
        """The one split that this server plays."""
        return [self._split]

    def list_tasks(self, split: str) -> list[dict[str, Any]]:
        """Every task: its id and number."""
        return self.get_task_range(split)

    def num_tasks(self, split: str) -> int:
        """How many there are."""
        return len(self._tasks(split))

    def get_task(self, split: str, index: int) -> dict[str, Any]:
        """One task.

        Raises:
            IndexError: there is no task of that number.
        """
        names = self._tasks(split)
        if not 0 <= index < len(names):
            raise IndexError(f"index is {index}; the split {split!r} has tasks 0 to {len(names) - 1}")
        return {"id": names[index], "index": index}

    def get_task_range(
        self, split: str, start: int | None = None, stop: int | None = None
    ) -> list[dict[str, Any]]:
        """Some tasks, bounded as a slice is."""
        found = [{"id": name, "index": number} for number, name in enumerate(self._tasks(split))]
        return found[start:stop]

    def _tasks(self, split: str) -> tuple[str, ...]:
        if split != self._split:
            raise ValueError(f"split is {split!r}; this server has {self._split!r}")
        return task_ids(self._env)

    def _observation(
        self, text: str, reward: float | None, terminated: bool, truncated: bool, info: dict[str, Any]
    ) -> TextObservation:
        facts: dict[str, Any] = {name: info[name] for name in SHOWN if name in info}
        facts.update(terminated=bool(terminated), truncated=bool(truncated))
        return TextObservation(
            text=text, reward=reward, done=facts["terminated"] or facts["truncated"], metadata=facts
        )


def _split_of(env: EnvConfig) -> str:
    """The split's name: the official one, where it is played, or that of generated tasks and of data sets."""
    games = env.arguments.get("games")
    return str(games if games in SPLITS else env.arguments.get("split", "train"))


def make_app(env: EnvConfig, sessions: int) -> Any:
    """The application of `openenv_app`."""
    get(env.id)
    factory: Callable[[], TextEnvironment] = partial(TextEnvironment, env)
    held = factory()  # refuses settings before the first session does, and shares what all of them open
    name = env.id.rpartition("/")[2].lower()
    app = create_app(
        factory, TextAction, TextObservation, env_name=name, max_concurrent_envs=sessions, state_cls=State
    )
    runs = app.router.lifespan_context

    @asynccontextmanager
    async def until_it_ends(app: Any) -> AsyncIterator[Any]:
        try:
            async with runs(app) as state:
                yield state
        finally:
            held.close()

    app.router.lifespan_context = until_it_ends
    return app
