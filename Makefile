# Everything runs in .venv, which the first target that needs it makes. PYTHON picks the interpreter.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# With the lowest versions that pyproject.toml allows.
LOWEST := .venv-lowest
# More than cores: half of what tests do is waiting for sockets and processes.
WORKERS ?= 4
# Tests inherit nothing: a proxy, a server's address or a login of the caller must not change what they find. OLLAMA_BIN
# names a real Ollama, beside which the gateway is tested where there is one.
BARE := env -i PATH="$$PATH" HOME="$$HOME" $(if $(OLLAMA_BIN),OLLAMA_BIN="$(OLLAMA_BIN)")

# Programs in Go that direct pushes are tested with: distribution 3, the spec's conformance suite, three clients; crane
# is a registry, too; actionlint judges the workflows, and its package of Python brings no program for every machine. A registry that no Go proxy serves (olareg, zot) is tested where its program is on the PATH.
GO_PROGRAMS := \
	github.com/distribution/distribution/v3/cmd/registry@v3.0.0 \
	github.com/opencontainers/distribution-spec/conformance@v0.0.0-20260831232431-97274622c111 \
	github.com/google/go-containerregistry/cmd/crane@v0.22.1 \
	github.com/regclient/regclient/cmd/regctl@v0.11.7 \
	github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 \
	oras.land/oras/cmd/oras@v1.3.6

.DEFAULT_GOAL := help
.PHONY: help demo test test-all test-anywhere test-lowest test-pythons test-registries check bench docs docs-version pictures changelog api dist sbom audit recipes release release-notes verdicts fuzz faults soak mutants format lint types contracts coverage clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or later is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1); with another one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; \
	  exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[cli]'
	@touch $@

$(VENV)/.dev: pyproject.toml $(VENV)/.run
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev --group docs
	@touch $@

$(VENV)/.release: pyproject.toml $(VENV)/.dev
	$(BIN)/python -m pip install --quiet --group release
	@touch $@

# Never fails: without these programs the tests that need them say so and are skipped.
$(VENV)/.go: Makefile | $(VENV)/.run
	@missing=; if ! command -v go >/dev/null; then \
	  echo "go is not on the PATH: tests with distribution 3, the conformance suite, crane, oras, regctl and actionlint will be skipped"; \
	else \
	  for program in $(GO_PROGRAMS); do \
	    GOBIN='$(CURDIR)/$(VENV)/go/bin' go install "$$program" || { echo "not installed: $$program"; missing=yes; }; \
	  done; \
	  test -n "$$missing" || touch $@; \
	fi

demo: $(VENV)/.run  ## Watch real pushes: through the gateway, sync and async, and straight to a registry
	$(BIN)/ollama-push demo

test: $(VENV)/.dev  ## Run the quick tests, in under two minutes
	$(BARE) $(BIN)/python -m pytest -n $(WORKERS) -q -m 'not slow'

test-all: $(VENV)/.release $(VENV)/.go  ## Run every test
	$(BARE) $(BIN)/python -m pytest -n $(WORKERS) -q

# What it saw goes into the page docs/registries.md with: python -m tests.registries.table --write
test-registries: $(VENV)/.dev $(VENV)/.go  ## Run the same checks against every registry program that is at hand
	$(BARE) $(BIN)/python -m pytest -n $(WORKERS) -q --junit-xml=.registries.xml tests/registries

# pip has no such resolution. Like pip, uv is to trust the system's CAs: its own list lacks a company's.
$(LOWEST)/.test: pyproject.toml $(VENV)/.dev
	$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(LOWEST)
	$(BIN)/uv pip install --system-certs --quiet --python $(LOWEST)/bin/python --resolution lowest-direct --editable '.[all]' --group test
	@touch $@

test-lowest: $(LOWEST)/.test  ## Run the quick tests with the lowest versions that we say we work with
	$(BARE) $(LOWEST)/bin/python -m pytest -n $(WORKERS) -q -m 'not slow and not docs and not release'

# A terminal that cannot draw, an encoding of ASCII alone, and a machine that is busy with something else; in random order.
ANYWHERE ?= tests/cli tests/unit/contrib tests/unit/local
test-anywhere: $(VENV)/.dev  ## Run quick tests with TERM=dumb and in a C locale, beside busy loops (ANYWHERE=tests: all)
	@pids=; trap 'kill $$pids' EXIT; \
	for core in $$(seq $$(nproc)); do while :; do :; done & pids="$$pids $$!"; done; \
	for each in TERM=dumb LC_ALL=C; do \
	  $(BARE) $$each $(BIN)/python -m pytest -n $(WORKERS) -q -m 'not slow' $(ANYWHERE) || exit 1; \
	done

test-pythons: $(VENV)/.dev  ## Run the quick tests of the built wheel on every Python from 3.11 on that is here
	WORKERS=$(WORKERS) $(BIN)/python -m tests.pythons $(PYTHONS) -m 'not slow and not docs and not release'

check: format lint types contracts docs coverage  ## Everything a commit must pass

format: $(VENV)/.dev
	$(BIN)/ruff format --check .

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/codespell src tests/*/*.py docs examples bench release README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md changelog.d

# pyright asks the python of the PATH where packages are; node comes with it as a wheel, and nothing is downloaded.
types: $(VENV)/.release
	$(BIN)/mypy
	PATH="$(CURDIR)/$(BIN):$$PATH" PYTHONPATH=src $(BIN)/pyright --verifytypes ollama_push --ignoreexternal

contracts: $(VENV)/.dev
	$(BIN)/lint-imports

# Every test runs once: first those of the core, which must cover it alone, then all others.
CORE_TESTS := tests/unit/core src/ollama_push/core

coverage: $(VENV)/.release $(VENV)/.go  ## Run every test; fail below 100 % branch coverage of core, 95 % of the others
	rm -f .coverage .coverage.*
	$(BARE) $(BIN)/coverage run --data-file=.coverage.core -m pytest -n $(WORKERS) -q $(CORE_TESTS)
	$(BIN)/coverage combine --quiet --data-file=.coverage.core
	$(BIN)/coverage report --data-file=.coverage.core --include='src/ollama_push/core/*' --skip-covered --fail-under=100
	$(BARE) $(BIN)/coverage run --data-file=.coverage.others -m pytest -n $(WORKERS) -q $(CORE_TESTS:%=--ignore=%)
	$(BIN)/coverage combine --quiet --data-file=.coverage.others
	$(BIN)/coverage combine --quiet --keep --data-file=.coverage.all .coverage.core .coverage.others
	$(BIN)/coverage json --quiet --data-file=.coverage.all -o .coverage.json
	$(BIN)/python -m tests.coverage_gate .coverage.json

# Not --quiet: mkdocs 1.6 then counts no warnings, and --strict lets broken links through.
docs: $(VENV)/.dev  ## Build the documentation
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# mike looks for mkdocs on the PATH, and commits to the branch; nothing is pushed.
docs-version: docs  ## Put the documentation as VERSION (X.Y) and ALIAS (latest) on the branch gh-pages
	PATH="$(CURDIR)/$(BIN):$$PATH" NO_MKDOCS_2_WARNING=1 $(BIN)/mike deploy --update-aliases '$(VERSION)' '$(ALIAS)'

# They differ from run to run: look at them, and commit them by hand.
pictures: $(VENV)/.dev  ## Draw the pictures of docs/pictures again, from real runs
	$(BIN)/python -m tests.pictures

changelog: $(VENV)/.dev  ## Print what changed since the last release, from changelog.d
	@$(BIN)/towncrier build --draft --version next 2>/dev/null

# The tests that make test-pythons runs go to the very wheel: make test-pythons PYTHONS="--wheel dist/NAME.whl".
dist: $(VENV)/.release  ## Build the sdist and the wheel into dist, and check that they may be published
	$(BIN)/python -m release.dist

# What they list is what pip installs today for the built wheel with every extra.
sbom: dist  ## Write the wheel's bill of materials (CycloneDX) into dist
	$(BIN)/python -m release.sbom dist/*.whl

audit: dist  ## Look for known vulnerabilities of what the wheel installs; says so when nothing could be looked up
	$(BIN)/python -m release.audit dist/*.whl

recipes: dist  ## Write a Homebrew formula and a conda recipe into dist (HOMEPAGE=URL)
	$(BIN)/python -m release.recipes --homepage '$(HOMEPAGE)' dist/*.tar.gz

api: $(VENV)/.release  ## Write the list of public names anew; what breaks a release: python -m release.api --since TAG
	$(BIN)/python -m release.api --write

release: $(VENV)/.release  ## Prepare a release: its section of the changelog, its image in deploy (VERSION=X.Y.Z)
	$(BIN)/python -m release.prepare '$(VERSION)'

release-notes: $(VENV)/.dev  ## Print what the changelog says of a release (TAG=vX.Y.Z)
	@$(BIN)/python -m release.notes '$(TAG)'

verdicts: $(VENV)/.dev  ## Print every misbehaviour with our verdict beside the official client's
	$(BIN)/python -m tests.verdicts

# A quick run, as in CI, measures everything once and leaves the history alone.
bench: $(VENV)/.dev  ## Print ratios against peers measured in the same run, and keep them in bench/history.jsonl
	$(BIN)/python -m bench --history $(BENCH_ARGS)

fuzz: $(VENV)/.dev  ## Fuzz all that reads bytes of others (FUZZ_SECONDS each, default 600)
	$(BIN)/python -m tests.fuzz

# A plan that fails prints its seed and shrinks itself; each fault found becomes a test with a name.
faults: $(VENV)/.dev  ## Push while 500 random plans of faults happen
	$(BARE) $(BIN)/python -m tests.faults --plans 500 --jobs $(WORKERS)

soak: $(VENV)/.dev  ## The same with 10,000 plans
	$(BARE) $(BIN)/python -m tests.faults --plans 10000 --jobs $(WORKERS)

# Sets have an order that the hash seed decides: the same one each time, or a mutant could survive now and then.
mutants: $(VENV)/.dev  ## Mutate the core and see which mutants no test notices (MUTANTS=PATH, or --changed; default: all)
	$(BARE) PYTHONHASHSEED=0 $(BIN)/python -m tests.mutants $(MUTANTS)

clean:
	rm -rf $(VENV) $(VENV)-3.* $(LOWEST) site dist
