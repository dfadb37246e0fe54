"""vLLM in this process: it shares the device with the learner, and gives its memory back between rollouts."""

import os
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch

from stepopsd_agent.models import Policy
from stepopsd_agent.rollout.decoder import Sampled
from stepopsd_agent.rollout.engines.base import Draw
from stepopsd_agent.rollout.engines.drawing import noise_fields
from stepopsd_agent.rollout.engines.errors import EngineError
from stepopsd_agent.rollout.engines.weights import engine_weights, save_for_engine
from stepopsd_envs.extras import install_command

PROCESSOR = "stepopsd_agent.rollout.engines.keyed_noise:KeyedNoise"
ENVIRONMENT = {
    "VLLM_CPU_KVCACHE_SPACE": "1",  # GiB; on a CPU vLLM takes nearly all memory that there is
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",  # the learner's threads stay where they were
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_LOGGING_LEVEL": "WARNING",
}
"""Variables of vLLM that are set unless they are set already."""
TYPES = {torch.float32: "float32", torch.bfloat16: "bfloat16", torch.float16: "float16"}


class Colocated:
    """One vLLM engine in this process, made from a policy and kept in step with it by `load`."""

    def __init__(self, policy: Policy, *, slots: int, max_row_tokens: int, memory_share: float) -> None:
        """Start vLLM with the policy's weights.

        Args:
            policy: architecture, type and first weights.
            slots: responses drawn at once.
            max_row_tokens: longest row, the response included.
            memory_share: of the device's memory, for weights and cache; CUDA only.

        Raises:
            EngineError: vLLM is not installed, or cannot run this model here.
        """
        self._cuda, self._asleep = policy.device.type == "cuda", False
        self._running: set[int] = set()
        vllm = _vllm(policy)
        self._folder = tempfile.TemporaryDirectory(prefix="stepopsd-vllm-")
        folder = Path(self._folder.name)
        settings: dict[str, Any] = {"gpu_memory_utilization": memory_share} if self._cuda else {}
        try:
            save_for_engine(policy, folder)
            with _generators_kept():
                self._llm = vllm.LLM(
                    model=str(folder),
                    dtype=TYPES[policy.model.dtype],
                    max_model_len=max_row_tokens,
                    max_num_seqs=slots,
                    enable_prefix_caching=True,
                    enable_sleep_mode=self._cuda,
                    enforce_eager=not self._cuda,  # compiling for a CPU takes minutes
                    logits_processors=[PROCESSOR],
                    logprobs_mode="processed_logits",
                    async_scheduling=False,  # the noise of a token needs the number of tokens before it
                    seed=0,
                    **settings,
                )
        except (ValueError, RuntimeError, NotImplementedError) as error:
            self._folder.cleanup()
            if isinstance(error, EngineError):
                raise
            raise EngineError(
                f"vLLM cannot run this model here ({_first_line(error)}): change what it names, or set "
                "rollout.backend to builtin"
            ) from error
        self._vllm, self._engine = vllm, self._llm.llm_engine
        self._loaded = True  # the weights it was made from

    def load(self, policy: Policy) -> None:
        """Hand the policy's weights over, and forget the prefixes that were read with earlier ones.

        Raises:
            EngineError: vLLM keeps prefixes of earlier weights.
        """
        if self._asleep:
            torch.cuda.empty_cache()
            self._llm.wake_up(tags=["weights"])
        self._llm.collective_rpc(
            "reload_weights", kwargs={"weights_iterator": iter(engine_weights(policy).items())}
        )
        if self._asleep:
            self._llm.wake_up(tags=["kv_cache"])
            self._asleep = False
        if not self._llm.reset_prefix_cache():
            raise EngineError("vLLM is still drawing, so it cannot take new weights; call rest() before load")

    def ask(self, number: int, ids: Sequence[int], draw: Draw) -> None:
        """Begin to draw what follows these ids."""
        params = self._vllm.SamplingParams(
            temperature=0.0,  # the likeliest token is the one that the processor has drawn
            max_tokens=len(draw.uniforms),
            logprobs=0,
            ignore_eos=True,
            stop_token_ids=list(draw.stop_ids),
            stop=list(draw.params.stop) or None,
            detokenize=bool(draw.params.stop),
            output_kind=self._vllm.sampling_params.RequestOutputKind.FINAL_ONLY,
            extra_args=noise_fields(draw),
        )
        self._engine.add_request(str(number), {"prompt_token_ids": list(ids)}, params)
        self._running.add(number)

    def finished(self) -> dict[int, Sampled]:
        """The responses that have ended; steps the engine until there is one."""
        ended: dict[int, Sampled] = {}
        while not ended:
            for output in self._engine.step():
                if output.finished:
                    ended[int(output.request_id)] = _sampled(output.outputs[0])
        self._running -= ended.keys()
        return ended

    def rest(self) -> None:
        """Drop the running responses; on CUDA also drop weights and cache until the next `load`."""
        if self._running:
            self._engine.abort_request([str(number) for number in self._running])
            self._running.clear()
        if self._cuda and not self._asleep:
            self._llm.sleep(level=2)
            self._asleep = True

    def close(self) -> None:
        """End vLLM and remove the folder that it started from."""
        self._engine.engine_core.shutdown()
        self._folder.cleanup()


def _sampled(completion: Any) -> Sampled:
    """The ids, and what the processor has left of their logits: the log-probabilities."""
    ids = tuple(completion.token_ids)
    each = zip(ids, completion.logprobs, strict=True)
    return Sampled(ids, tuple(float(logprobs[token].logprob) for token, logprobs in each))


def _vllm(policy: Policy) -> Any:
    """The package, if it is there and can run this policy in this process."""
    if policy.model.dtype not in TYPES:
        raise EngineError(
            f"vLLM knows no {policy.model.dtype} weights: set model.dtype to float32 or bfloat16, or "
            "rollout.backend to builtin"
        )
    if torch.distributed.is_initialized() and torch.distributed.get_world_size() > 1:
        raise EngineError(
            "vLLM runs in one process here, but this one is part of a group: start a server for each process "
            "and give its address as rollout.url, or set rollout.backend to builtin"
        )
    os.environ["VLLM_ENABLE_V1_MULTIPROCESSING"] = "0"  # weights are handed over as they are
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if find_spec("vllm") is None:
        raise EngineError(
            f"rollout.backend is vllm, which is not installed: {install_command('vllm')}, or set "
            "rollout.backend to builtin"
        )
    import vllm

    return vllm


@contextmanager
def _generators_kept() -> Iterator[None]:
    """Global random generators are afterwards as they were: vLLM seeds them."""
    of_python, of_numpy = random.getstate(), np.random.get_state()
    try:
        with torch.random.fork_rng():
            yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__
