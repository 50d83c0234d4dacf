# `make demo` and `make test` do all set-up themselves. They need python3 >= 3.11 and make.

PYTHON ?= python3
VENV ?= .venv
EXTRAS ?= all,dev
# Another package index for torch and torchvision, such as PyTorch's own for a CPU-only build; see README.md.
TORCH_INDEX ?=
PYTEST_ARGS ?=
DEMO_ARGS ?=

PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint format bench docs clean

help: ## Show what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/'

demo: $(STAMP) ## Train a Vision Transformer on embedded images, print its metrics and draw its pictures
	$(PY) demos/vision_classification.py $(DEMO_ARGS)

# One worker a core, each with one thread; the tests of a file stay together. PYTEST_ARGS="-n 0" runs them in one process.
test: export OMP_NUM_THREADS = 1
test: $(STAMP) ## Run the tests; PYTEST_ARGS="-k masks -x" narrows them
	$(PY) -m pytest -n auto --dist loadfile $(PYTEST_ARGS)

lint: $(STAMP) ## Run the linters: ruff, ruff's formatter, mypy
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

format: $(STAMP) ## Format the code and mend what ruff can mend
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

bench: $(STAMP) ## Run every benchmark and write docs/benchmarks.md
	$(PY) benchmarks

docs: $(STAMP) ## Build the API reference into docs/api
	$(PY) -m pdoc --docformat google --math --output-directory docs/api attention_suite core core.training vision genomics graphs timeseries

clean: ## Remove what was built; data, runs and the environment stay
	rm -rf build dist docs/api .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path '*/.venv/*' -prune -exec rm -rf {} +

# Set up again only after pyproject.toml has changed.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "error: no $(PYTHON) found; install Python >= 3.11 or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: $(PYTHON) is $$($(PYTHON) --version 2>&1), expected Python >= 3.11; name another: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "error: $(PYTHON) cannot make virtual environments; on Debian and Ubuntu: sudo apt install python3-venv" >&2; exit 1; }
	@$(PY) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	@echo "installing into $(VENV): this fetches PyTorch, and takes some minutes the first time"
	$(if $(TORCH_INDEX),$(PY) -m pip install --quiet torch torchvision --index-url $(TORCH_INDEX))
	$(PY) -m pip install --quiet --editable ".[$(EXTRAS)]"
	@touch $@
