# CitySplat: every command that a person needs. `make help` lists them.
#
#   make demo PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"
#       takes torch's small CPU build instead of the CUDA build that the default index serves.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV ?= .venv
PIP_ARGS ?=
CITY ?= demo-city
WORKERS ?= 2
PYTEST_ARGS ?=
PORT ?= 3000

BIN := $(VENV)/bin

# Compiled kernels are cached in the work area, not beside the sources.
export NUMBA_CACHE_DIR ?= $(CURDIR)/.work/numba

# Tests run in several processes, so each keeps to one thread.
TEST_ENV := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: help demo test test-all dev view lint format types settings-doc lock clean

help: ## list these commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

# The stamps make installing idempotent: pip runs again only after one of the two files changed.
$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install $(PIP_ARGS) -c constraints.txt -e ".[dev]"
	@touch $@ $(VENV)/.installed

demo: $(VENV)/.installed ## build a simulated town into demo-city/, from nothing to a viewer
	@scripts/system-packages.sh demo
	$(BIN)/citysplat demo --out $(CITY)

test: $(VENV)/.installed-dev ## run the tests (no GPU, no network, under 15 minutes)
	@scripts/system-packages.sh test
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_ARGS)

test-all: $(VENV)/.installed-dev ## run the slow tests too, and those for a GPU where there is one
	@scripts/system-packages.sh test
	$(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "" --timeout 3600 $(PYTEST_ARGS)

dev: $(VENV)/.installed ## Dagster's webserver and daemon over a city (CITY=demo-city, PORT=3000)
	$(BIN)/citysplat dev --city $(CITY) --port $(PORT)

view: $(VENV)/.installed ## serve the viewer of a city (CITY=demo-city)
	$(BIN)/citysplat view --city $(CITY)

lint: $(VENV)/.installed-dev ## ruff: rules and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/.installed-dev ## let ruff format and repair what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/.installed-dev ## mypy --strict over both packages
	$(BIN)/mypy

settings-doc: $(VENV)/.installed ## write docs/settings.md from the code
	$(BIN)/python scripts/settings_doc.py

lock: $(VENV)/.installed-dev ## write constraints.txt again
	scripts/lock.sh

clean: ## remove the virtual environment and caches; cities are kept
	rm -rf $(VENV) .work build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find citysplat_core citysplat_dagster tests -name __pycache__ -type d -prune -exec rm -rf {} +
