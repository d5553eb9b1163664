# Everything runs in .venv, which the first target that needs it makes. PYTHON picks the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test check bench docs verdicts fuzz format lint types contracts coverage clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.run: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev --group docs
	@touch $@

demo: $(VENV)/.run  ## Watch a real push, sync and async, against the embedded server
	$(BIN)/ollama-push demo

test: $(VENV)/.dev  ## Run the test suite
	$(BIN)/python -m pytest -n $(WORKERS) -q

check: format lint types contracts coverage test docs  ## Everything a commit must pass

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/codespell src tests/*/*.py docs examples bench README.md CHANGELOG.md

types: $(VENV)/.dev
	$(BIN)/mypy

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

coverage: $(VENV)/.dev  ## Branch coverage of the core by its own unit tests; must be 100 %
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -p no:randomly tests/unit/core src/ollama_push/core
	$(BIN)/coverage report --fail-under 100

docs: $(VENV)/.dev  ## Build the documentation
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

verdicts: $(VENV)/.dev  ## Print every misbehaviour with our verdict beside the official client's
	$(BIN)/python -m tests.verdicts

bench: $(VENV)/.dev  ## Print ratios against peers measured in the same run
	$(BIN)/python -m bench $(BENCH_ARGS)

fuzz: $(VENV)/.dev  ## Fuzz the state machine (FUZZ_SECONDS, default 600)
	$(BIN)/python -m tests.fuzz

clean:
	rm -rf $(VENV) site dist
