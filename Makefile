# make run      set everything up and serve the product with a demo city
# make test     set everything up and run all tests
# make check    format, lint, types, layers
# make bench    measurements (make bench ONLY=callbacks runs a part)
# make install  the set-up alone; .venv/bin/tongting is there afterwards
#
# PYTHON=/path/to/python3.12 chooses another interpreter (3.11 or newer). Once set up, nothing needs the network.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ONLY ?=
AXE := tests/browser/node_modules/axe-core/axe.min.js

.DEFAULT_GOAL := help
.PHONY: help install run test check bench screenshots

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -7

install: $(STAMP)

$(STAMP): requirements.lock.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Tongting needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) --version 2>&1 || echo not there)."; \
	  echo "Install one and say where: make PYTHON=/path/to/python3.12"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { \
	  rm -rf $(VENV); echo "Python could not make a virtual environment; on Debian: apt-get install python3-venv"; exit 1; }
	@echo "Installing the locked packages into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

run: install
	@$(BIN)/tongting run

# Processes that share the tests out: one more than there are processors, for tests also wait; 0 runs them in one.
WORKERS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 1) + 1)

test: install $(AXE)
	$(BIN)/python -m pytest -n $(WORKERS)

# The rules of accessibility that the pages are tested with; without npm those tests are skipped.
$(AXE): tests/browser/package-lock.json
	@if command -v npm >/dev/null; then npm ci --silent --prefix tests/browser && touch $@; \
	else echo "npm is not there: the pages are not tested for accessibility (on Debian: apt-get install npm)"; fi

# Pictures of all pages for docs/PAGES.md.
screenshots: install $(AXE)
	TONGTING_SCREENSHOTS=docs/images/pages $(BIN)/python -m pytest -q tests/browser/test_every_page.py

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install
	$(BIN)/python -m benchmarks $(ONLY)
