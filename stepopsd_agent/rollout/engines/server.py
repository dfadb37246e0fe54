"""A vLLM server that draws: each response is a request of its own, and weights go through a folder.

The server has to be started with `FLAGS` and `VLLM_SERVER_DEV_MODE=1`, on a machine that sees the same folder
of temporary files.
"""

import tempfile
import warnings
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.chat_client import ChatClient, ServedModelError
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.engines.base import Draw
from stepopsd_agent.rollout.engines.colocated import PROCESSOR
from stepopsd_agent.rollout.engines.drawing import noise_fields
from stepopsd_agent.rollout.engines.errors import EngineError
from stepopsd_agent.rollout.engines.weights import save_for_engine, write_weights
from stepopsd_agent.rollout.sampling import SamplingParams

FLAGS = (
    f"--logits-processors {PROCESSOR} --logprobs-mode processed_logits --no-async-scheduling "
    "--enable-prefix-caching"
)
"""What the server has to be started with, beside the model."""
NEUTRAL = {
    "repetition_penalty": 1.0, "presence_penalty": 0.0, "frequency_penalty": 0.0, "top_p": 1.0, "top_k": 0,
    "min_p": 0.0,
}  # fmt: skip
"""What a request has to say, or vLLM takes it from the model's generation_config.json: penalties change the
log-probability of a token that is drawn already."""
IMPOSSIBLE = -1000.0
"""A log-probability below this stands for none: HTTP carries no infinity, vLLM sends -9999."""


class Server:
    """One running vLLM server, which is given the policy's weights by `load`."""

    def __init__(
        self, url: str, *, slots: int, max_row_tokens: int | None = None, deadline: float = 600.0
    ) -> None:
        """Ask the server whether it draws as it must.

        Args:
            url: such as http://127.0.0.1:8000.
            slots: responses drawn at once.
            max_row_tokens: longest row that may be asked for, the response included; None: the server's.
            deadline: seconds for one response.

        Raises:
            EngineError: there is no server, it was started without `FLAGS`, or its rows are shorter.
        """
        try:
            self._client = ChatClient(
                url.rstrip("/").removesuffix("/v1"), deadline=deadline, setting="rollout.url"
            )
        except ValueError as error:
            raise EngineError(str(error)) from error
        self.url, self._pool = self._client.url, ThreadPoolExecutor(slots)
        self._running: dict[Future[Sampled], int] = {}
        self._version: str | None = None  # names the weights that the server was given last
        try:
            served = self._post("v1/models", None)["data"][0]
            self._model = str(served["id"])
            self._check_length(served.get("max_model_len"), max_row_tokens)
            self._check_flags()
        except (KeyError, IndexError, TypeError, AttributeError) as error:
            raise EngineError(
                f"{self.url} does not answer as vLLM does: is rollout.url the address of a vLLM server, 0.29 "
                "or newer?"
            ) from error
        self._folder, self._sendable = tempfile.TemporaryDirectory(prefix="stepopsd-weights-"), False

    def load(self, policy: Policy) -> None:
        """Write the weights, and let the server read them and forget what it computed with earlier ones.

        Raises:
            EngineError: the server does not take them, or would not know them by their names.
        """
        if not self._sendable:
            self._compare_types(policy)
            with tempfile.TemporaryDirectory(prefix="stepopsd-names-") as folder:
                save_for_engine(policy, Path(folder))
            self._sendable = True
        write_weights(policy, Path(self._folder.name))
        # The name goes first: a server that starts again before it reads the weights has not got it, either.
        self._version = uuid4().hex
        self._post("update_weight_version", {"new_version": self._version})
        reload = {"method": "reload_weights", "kwargs": {"weights_path": self._folder.name}}
        where = f" where it sees {self._folder.name}, in which this run writes the weights"
        self._post("collective_rpc", reload, where)
        if not self._post("reset_prefix_cache", {}).get("success", False):
            raise EngineError(
                f"{self.url} is drawing for somebody else, so it cannot take new weights: give this run a "
                "server of its own"
            )

    def ask(self, number: int, ids: Sequence[int], draw: Draw) -> None:
        """Send a request; a thread waits for its answer."""
        body = self._body(ids, draw)
        self._running[self._pool.submit(self._drawn, body)] = number

    def finished(self) -> dict[int, Sampled]:
        """The answers that have come; waits for one.

        Raises:
            EngineError: the server gave none, or has other weights than it was given.
        """
        done = wait(self._running, return_when=FIRST_COMPLETED).done
        ended = {self._running.pop(future): future.result() for future in done}
        self._check_weights()
        return ended

    def rest(self) -> None:
        """Drop the running requests: those that have begun end unread."""
        for future in self._running:
            future.cancel()
        wait(self._running)
        self._running.clear()

    def close(self) -> None:
        """Let go of the server, which goes on running."""
        self._pool.shutdown(cancel_futures=True)
        self._folder.cleanup()

    def _body(self, ids: Sequence[int], draw: Draw) -> dict[str, Any]:
        return {
            "model": self._model,
            "prompt": list(ids),
            "max_tokens": len(draw.uniforms),
            "temperature": 0.0,
            **NEUTRAL,
            "logprobs": 0,
            "return_token_ids": True,
            "ignore_eos": True,
            "stop_token_ids": list(draw.stop_ids),
            "stop": list(draw.params.stop),
            "vllm_xargs": noise_fields(draw),
        }

    def _drawn(self, body: dict[str, Any]) -> Sampled:
        try:
            choice = self._post("v1/completions", body)["choices"][0]
            ids, logprobs = choice["token_ids"], choice["logprobs"]["token_logprobs"]
            return Sampled(tuple(map(int, ids)), tuple(map(float, logprobs)))
        except (KeyError, IndexError, TypeError) as error:
            raise EngineError(f"{self.url} answered without token ids: is it vLLM 0.29 or newer?") from error

    def _check_flags(self) -> None:
        """With the processor, no token but the drawn one has a finite logit; without it all of them do."""
        draw = Draw(np.array([0.5]), SamplingParams(max_tokens=1), ())
        body = {**self._body([0], draw), "logprobs": 2}
        likeliest = self._post("v1/completions", body)["choices"][0]["logprobs"]["top_logprobs"][0]
        if sum(logprob > IMPOSSIBLE for logprob in likeliest.values()) != 1:
            raise EngineError(
                f"{self.url} does not draw with this project's noise: start it with VLLM_SERVER_DEV_MODE=1 "
                f"vllm serve MODEL {FLAGS}"
            )

    def _check_length(self, served: int | None, needed: int | None) -> None:
        """VLLM would refuse the first row that is longer, whenever it comes."""
        if served is not None and needed is not None and served < needed:
            raise EngineError(
                f"{self.url} draws rows of up to {served} tokens, and this run may need up to {needed}: "
                f"start it with --max-model-len {needed}, or set rollout.max_row_tokens to {served}"
            )

    def _compare_types(self, policy: Policy) -> None:
        """Warn of a server that rounds otherwise; a float32 folder it takes as float16 unless it is told."""
        said = self._post("server_info?config_format=json", None)
        try:
            kind = str(said["vllm_config"]["model_config"]["dtype"])
        except (KeyError, TypeError):
            return  # it does not tell
        served, own = kind.removeprefix("torch."), str(policy.model.dtype).removeprefix("torch.")
        if served in ("float32", "bfloat16", "float16") and served != own:
            warnings.warn(
                f"{self.url} computes in {served} and the learner in {own}, so it draws from another "
                f"distribution (mismatch/kl tells how far): start it with --dtype {own} where that matters",
                RuntimeWarning,
                stacklevel=3,
            )

    def _check_weights(self) -> None:
        """A server that is started again answers the next request with the weights of its model folder."""
        if self._version is None:
            return
        if self._post("weight_info", None).get("weight_version") != self._version:
            raise EngineError(
                f"{self.url} no longer has the weights that this run gave it: it was started again, or "
                "another run gave it others. Give this run a server of its own"
            )

    def _post(self, path: str, body: dict[str, Any] | None, where: str = "") -> Any:
        try:
            return self._client.ask(path, body)
        except ServedModelError as error:
            advice = f"look into its log and start it again{where}"
            if error.status == 404:
                advice = "start it with VLLM_SERVER_DEV_MODE=1"
            raise EngineError(f"the vLLM server gave no answer ({error}); {advice}") from error
