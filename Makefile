# Two commands for a newcomer: `make run` and `make test`. `make help` lists the rest.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= data
DEMO ?= 1
SECONDS ?= 20
# Most tests wait for media to flow, not for a processor.
JOBS ?= 3
APT := tests/debian-packages.txt

.PHONY: help run demo test lint bench screenshots soak env packages clean

help: ## this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /\1\t/' | expand -t 10

run: env ## start the product; DEMO=0 without the demo lesson
	$(BIN)/kongzhong serve --data $(DATA) $(if $(filter 0,$(DEMO)),,--demo) $(ARGS)

demo: env ## one whole lesson without a person: make demo SECONDS=20
	$(BIN)/kongzhong demo --seconds $(SECONDS) $(ARGS)

test: packages $(VENV)/.dev ## all tests, with what they need installed first
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile --cov --cov-report=term:skip-covered $(ARGS)

lint: $(VENV)/.dev ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: env ## the figures of docs/performance.md, as ratios
	$(BIN)/kongzhong bench $(ARGS)

screenshots: packages $(VENV)/.dev ## the pictures of the docs, taken from the running product
	$(BIN)/python docs/images/make.py

soak: packages $(VENV)/.dev ## the long tests: coverage-guided fuzzing, kill -9 at random
	$(BIN)/python -m pytest tests/soak $(ARGS)

env: $(VENV)/.done

# A venv needs ensurepip, which Debian ships apart as python3-venv.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed (PYTHON=... names one)"; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || tests/install-packages python3-venv
	$(PYTHON) -m venv $(VENV)

$(VENV)/.done: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.done
	$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

packages:
	@tests/install-packages $$(grep -vE '^#|^$$' $(APT))

clean: ## remove the environment and caches, never the data
	rm -rf $(VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache .coverage
