# make train    train the laptop recipe for MINUTES minutes and evaluate it beside the untrained policy
# make test     the whole test suite
# make check    format, lint, types
# make format   put the sources in the project's format
# make clean    remove the environment and everything that can be made again (not outputs/)

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10
SEED ?= 0
RUN ?= outputs/laptop-seed$(SEED)
TRIALS ?= 100
PYTEST_ARGS ?=

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RENDERING := $(VENV)/.rendering

# Two cores do not share one simulation step or one small matrix product well: parallelism is over processes.
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help setup train test check format clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(INSTALLED) $(RENDERING)

$(INSTALLED): setup.py pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" bash scripts/install.sh "$(VENV)"
	@touch $@

$(RENDERING): $(INSTALLED) scripts/rendering.sh
	@bash scripts/rendering.sh "$(BIN)/python"
	@touch $@

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

test: setup
	$(BIN)/python -m pytest $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
