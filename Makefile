# make train    train the laptop recipe for MINUTES=10 minutes and evaluate it beside the untrained policy
# make twin     TRIALS=3 trials on a simulated hand over real sockets, in real time, with POLICY=block_none
# make test     the whole test suite, TEST_PROCESSES=2 files at a time
# make check    format, lint, types
# make format   put the sources in the project's format
# make clean    remove the environment and everything that can be made again, but no results

PYTHON ?= python3
VENV ?= .venv
MINUTES ?= 10
SEED ?= 0
TRIALS ?= 100
TEST_PROCESSES ?= 2
PYTEST_ARGS ?=

ifndef RUN
RUN := runs/$(shell date +%Y-%m-%d_%H-%M-%S)_laptop-seed$(SEED)
endif

# Trials like what the laptop recipe trains on: near goals, 8 s for each (conf/experiment/laptop.yaml).
LAPTOP_TRIALS := randomization=none goals.kind=within_angle 'goals.angle=[0.5,1.2]' limits.timeout=8

BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
RENDERING := $(VENV)/.rendering

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
POLICY ?= block_none
TWIN := runs/$(shell date +%Y-%m-%d_%H-%M-%S)_twin

.PHONY: help setup train twin test check format clean

help:
	@sed -n 's/^# make/make/p' Makefile

setup: $(INSTALLED) $(RENDERING)

$(INSTALLED): setup.py pyproject.toml constraints.txt
	@PYTHON="$(PYTHON)" bash scripts/install.sh "$(VENV)"
	@touch $@

$(RENDERING): $(INSTALLED) scripts/rendering.sh
	@bash scripts/rendering.sh "$(BIN)/python" $@

train: setup
	$(BIN)/python train.py experiment=laptop minutes=$(MINUTES) seed=$(SEED) hydra.run.dir=$(RUN)
	$(BIN)/python evaluate.py "policy=[$(RUN),untrained]" $(LAPTOP_TRIALS) trials=$(TRIALS) \
		video=$$(cat $(RENDERING)) hydra.run.dir=$(RUN)/evaluation
	@echo "Learning curve: $(RUN)/curves.png"
	@if ls $(RUN)/evaluation/*.mp4 >/dev/null 2>&1; then echo "Videos:         $(RUN)/evaluation/*.mp4"; fi

twin: TRIALS = 3
twin: $(INSTALLED)
	$(BIN)/python evaluate.py world=hand hardware=twin policy=$(POLICY) trials=$(TRIALS) hydra.run.dir=$(TWIN)

check: $(INSTALLED)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# A crashed process ends the tests: put in its place, another would wait for ever for the crashed one's files.
test: setup
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --max-worker-restart=0 $(PYTEST_ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis .warp_cache
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
