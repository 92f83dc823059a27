# `make demo` and `make test` need only Python 3.11 or newer, and make; everything else goes into $(VENV).

NEW_ENOUGH = import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	  $$p -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$p && break; done)
VENV ?= .venv
VLLM_VENV ?= .venv-vllm
SEEDS ?= 1
BIN = $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --constraint constraints.txt --editable

.DEFAULT_GOAL := help
.PHONY: help demo test test-vllm check lint types layers fix bench house reproduce reproduce-smoke clean

help:  ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.base  ## see a conversation become memories, offline and without a key
	@$(BIN)/memory-r1 demo

test: check  ## lint, types, layers and the fast tests, without network
	@$(BIN)/python -m pytest --numprocesses logical --maxprocesses 8

# The server has an environment of its own: vLLM wants an older transformers than the trainer has.
test-vllm: $(VENV)/.dev  ## test with a real vLLM server on the CPU; skipped, with the reason, where it cannot be installed
	@if sh tests/vllm_env/install.sh $(VLLM_VENV) "$(PYTHON)"; then \
	  VLLM_PYTHON="$(abspath $(VLLM_VENV))/bin/python" $(BIN)/python -m pytest -m slow -s tests/test_vllm_server.py tests/test_vllm_trained.py; \
	else [ $$? -eq 3 ]; fi

check: lint types layers  ## everything of `make test` that needs no running

lint: $(VENV)/.dev
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .

types: $(VENV)/.dev
	@$(BIN)/mypy

layers: $(VENV)/.dev
	@$(BIN)/lint-imports --no-logo

fix: $(VENV)/.dev  ## format the code and repair what the linter can repair
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

# LanceDB's threads spread what they free over glibc's arenas, which then looks like growth; see docs/benchmarks.md.
bench: $(VENV)/.bench  ## measure speed and size; every line is a ratio against a reference of the same run
	@MALLOC_ARENA_MAX=2 $(BIN)/python benchmarks/run.py

house:  ## measure how the code is cut: functions, helpers used once, comments, by package
	@$(PYTHON) tests/support/house.py

reproduce: $(VENV)/.dev  ## train and compare all arms on the tiny base: 40 minutes on two cores; SEEDS=3 for means
	@$(BIN)/python -m langgraph_memory_r1.train.reproduce --seeds $(SEEDS)

reproduce-smoke: $(VENV)/.dev  ## ten steps of everything, with checks, in three minutes
	@$(BIN)/python -m langgraph_memory_r1.train.reproduce --smoke

clean:  ## remove the environments, the caches and the build output
	rm -rf $(VENV) $(VLLM_VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a second run installs nothing, a change of the dependencies installs again.
$(VENV)/.venv:
	@$(or $(PYTHON),false) -c '$(NEW_ENOUGH)' || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python"; exit 1; }
	@echo "Creating $(VENV) (once)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.base: pyproject.toml constraints.txt | $(VENV)/.venv
	@echo "Installing into $(VENV) (once; a minute or so)"
	@$(INSTALL) .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.venv
	@echo "Installing with the development tools into $(VENV) (once; a minute or so)"
	@$(INSTALL) '.[dev]'
	@touch $(VENV)/.base $@

$(VENV)/.bench: pyproject.toml constraints.txt | $(VENV)/.venv
	@echo "Installing with what is compared into $(VENV) (once; a minute or so)"
	@$(INSTALL) '.[dev,bench]'
	@touch $(VENV)/.base $(VENV)/.dev $@
