# Needs GNU make, Python >= 3.11 and a network; everything else is installed into .venv.

SHELL := /bin/sh
PYTHON ?= python3
OUT ?= demo
ARGS ?=
UPGRADE ?=
BENCHMARKS ?= startup tiling

BIN := .venv/bin
STAMP := .venv/.installed
# One version of each package for every supported Python, so that what is tested is what is run.
COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--fork-strategy fewest --custom-compile-command "make lock" $(UPGRADE)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install demo test coverage lint format typecheck bench peers docs lock clean distclean

help: ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  \1: \2/p' $(firstword $(MAKEFILE_LIST))

install: $(STAMP) ## make .venv from the lock; does nothing where it is up to date

$(STAMP): requirements/lock.txt requirements/bootstrap.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python >= 3.11 is needed, but '$(PYTHON)' is: $$($(PYTHON) --version 2>&1);" \
	    "name another one, as in: make PYTHON=python3.12 install" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/bootstrap.txt
	$(BIN)/uv pip sync --python $(BIN)/python --require-hashes --no-build --compile-bytecode requirements/lock.txt
	$(BIN)/uv pip install --python $(BIN)/python --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: install ## run the built-in cohort through everything (OUT=folder, ARGS=more flags)
	$(BIN)/wsi-specdec demo --out $(OUT) $(ARGS)

test: install ## run the whole test suite
	$(BIN)/python -m pytest -n auto --maxprocesses 8 --dist loadfile --durations 25 $(ARGS)

coverage: install ## the same, measuring coverage, which takes half as long again
	@$(MAKE) test ARGS="--cov --cov-report=term:skip-covered --cov-fail-under=85 $(ARGS)"

lint: install ## check style, imports between rooms, and the Dockerfiles
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo
	$(BIN)/hadolint docker/Dockerfile.*

format: install ## rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

typecheck: install ## run the strict type checker
	$(BIN)/mypy

bench: install ## run every benchmark (BENCHMARKS="names" for some of them)
	@for name in $(BENCHMARKS); do \
	  echo "== benchmarks/$$name.py"; $(BIN)/python -m benchmarks.$$name $(ARGS) || exit 1; \
	done

peers: install ## install what `make bench` compares with into .peers (about 12 GB)
	$(BIN)/python -m benchmarks.install_peers $(ARGS)

docs: install ## check the documentation: its links, and that its examples are true
	$(BIN)/python -m pytest -q tests/project/test_docs.py $(wildcard tests/docs) $(ARGS)

lock: install ## resolve pyproject.toml into requirements/ (UPGRADE=--upgrade for newer versions)
	$(COMPILE) --extra dev pyproject.toml -o requirements/lock.txt
	$(COMPILE) -c requirements/lock.txt pyproject.toml -o requirements/runtime.txt
	$(COMPILE) -c requirements/lock.txt requirements/bootstrap.in -o requirements/bootstrap.txt

clean: ## remove caches and build products
	rm -rf build dist htmlcov .coverage .coverage.* .mypy_cache .ruff_cache .pytest_cache \
	  .hypothesis .import_linter_cache
	find . -path ./.venv -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf .venv
