"""A vLLM server as a process, on a free loopback port, of the interpreter that runs the tests."""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from benchmarks.runs.transformers_server import free_port
from stepopsd_agent.rollout.engines.server import FLAGS

LONGEST_START_S = 300.0
ENVIRONMENT = {
    "VLLM_SERVER_DEV_MODE": "1",
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind",
    "VLLM_NO_USAGE_STATS": "1",
    "OMP_NUM_THREADS": "1",
}


class VllmServer:
    """Serves the model in a folder; it can be killed and started again on the same port.

    Attributes:
        url: for ``rollout.url``.
    """

    def __init__(self, folder: Path, log: Path, max_row_tokens: int = 512) -> None:
        """Choose a port; nothing runs yet."""
        self._folder, self._log, self._port = folder, log, free_port()
        self.url, self._longest = f"http://127.0.0.1:{self._port}", max_row_tokens
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it as the documentation says, and wait until it answers."""
        words = ["-m", "vllm.entrypoints.openai.api_server", "--model", str(self._folder), *FLAGS.split()]
        words += ["--host", "127.0.0.1", "--port", str(self._port), "--dtype", "float32", "--enforce-eager"]
        words += ["--max-model-len", str(self._longest)]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, *words],
                env={**os.environ, **ENVIRONMENT},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        end = time.monotonic() + LONGEST_START_S
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > end:
                self.kill()
                raise RuntimeError(f"vLLM did not start; see {self._log}")
            time.sleep(0.5)

    def kill(self) -> None:
        """SIGKILL to the server and to the process of its engine."""
        if self._process is not None and self._process.poll() is None:
            os.killpg(self._process.pid, 9)
            self._process.wait()

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=5) as response:
                return bool(response.status == 200)
        except (urllib.error.URLError, OSError):
            return False
