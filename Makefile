# Two commands: `make tour` shows the papers' claims, `make test` checks the house. Each sets up what it needs.

PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
BENCH_INSTALLED := $(BENCH)/.installed
BENCHES := $(if $(ROOM),benchmarks/$(ROOM).py,$(filter-out %/side_by_side.py,$(wildcard benchmarks/*.py)))
PIP_FLAGS := --quiet --disable-pip-version-check --constraint constraints.txt

.DEFAULT_GOAL := help
.PHONY: help install tour test test-long lint bench docs clean

help: ## what there is to make
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(INSTALLED): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "isocline: want Python 3.11 or newer, got $$($(PYTHON) --version); set PYTHON=python3.12, say" >&2; exit 2; }
	@echo "isocline: installing into $(VENV) (once; minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install $(PIP_FLAGS) torch
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable '.[dev]'
	@touch $@

install: $(INSTALLED) ## make the environment .venv, once

tour: $(INSTALLED) ## every room's claims at tour scale, and one page with the results
	@echo "isocline: the tour; page: runs/tour/index.html"
	@$(BIN)/isocline tour

test: lint ## lint, types, floors, then the fast tests with line coverage
	@echo "isocline: tests ..."
	@$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term:skip-covered --cov-fail-under=90 -q

test-long: $(INSTALLED) ## the slow tests too
	@$(BIN)/python -m pytest -n 2 --dist worksteal -q -m 'not gpu and not network'

lint: $(INSTALLED) ## format, lint, types and floors
	@echo "isocline: format and lint (ruff), types (pyright), floors (import-linter) ..."
	@$(BIN)/ruff format --check --quiet . || { echo "run: $(BIN)/ruff format ." >&2; exit 1; }
	@$(BIN)/ruff check --quiet .
	@$(BIN)/pyright --pythonpath $(BIN)/python
	@$(BIN)/lint-imports --no-logo

# The peers live in an environment of their own, so that they never constrain the product.
$(BENCH_INSTALLED): pyproject.toml constraints.txt benchmarks/peers.txt
	@echo "isocline: installing the benchmark peers into $(BENCH) (once) ..."
	@test -x $(BENCH)/bin/python || $(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) torch
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) --editable . --requirement benchmarks/peers.txt
	@touch $@

bench: $(BENCH_INSTALLED) ## speed against the peers, side by side, one thread; ROOM=linear_model for one room
	@set -e; for file in $(BENCHES); do echo "isocline: $$file"; $(BENCH)/bin/python $$file; done

docs: $(INSTALLED) ## the site, warnings are errors: docs/_build/html/index.html
	@$(BIN)/sphinx-build -W -q -b html docs docs/_build/html
	@echo "isocline: docs/_build/html/index.html"

clean: ## remove the environments and everything made
	rm -rf $(VENV) $(BENCH) runs docs/_build .pytest_cache .ruff_cache .hypothesis .coverage
