# Each target makes the environment it needs: `make study` in a fresh clone is enough.
# ARGS is handed on: make test ARGS="-k wheel -x"
PYTHON ?= python3
ARGS   ?=
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check

STAMP       := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
BROWSER_STAMP := $(VENV)/.installed-browser

.DEFAULT_GOAL := help
.PHONY: help setup study test test-widths test-slow test-browser lint bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "  PYTHON=python3.12 make setup   makes .venv with another Python (3.11 or newer)"

setup: $(STAMP) ## make .venv and install the project with its tools (nothing to do when up to date)

study: FOLDER := outputs/digits_vanishing/$(shell date +%Y-%m-%d_%H-%M-%S)
study: $(STAMP) ## run the experiment digits_vanishing, then compare its runs on one page
	$(BIN)/rnn-train -m experiment=digits_vanishing hydra.sweep.dir=$(FOLDER)
	$(BIN)/rnn-compare $(FOLDER)

test: $(STAMP) ## run the tests (the laws alone: make test ARGS="-m law")
	$(BIN)/python -m pytest -n 2 --dist worksteal $(ARGS)

test-widths: $(STAMP) ## run the laws of the native engine for x86-64-v2, v3 and v4, each that this CPU has
	for level in v2 v3 v4; do $(BIN)/python -m pytest -n 2 --dist worksteal --width=$$level $(ARGS) \
	    $(patsubst %,tests/unroll/test_%.py,bits native trace unroll intervention threads memory) || exit 1; done

test-slow: $(STAMP) ## run the tests marked slow
	$(BIN)/python -m pytest -m slow $(ARGS)

test-browser: $(BROWSER_STAMP) ## run the tests of the page in a browser (Debian: apt-get install chromium)
	$(BIN)/python -m pytest tests/browser $(ARGS)

lint: $(STAMP) ## ruff, pyright and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

bench: $(BENCH_STAMP) ## measure what adjoints cost, beside torch and another tree-LSTM: at most 15 minutes
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove caches and build products (.venv and outputs stay)
	rm -rf build dist .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# One thread a process: on tensors this small, more threads only cost time.
test test-widths test-slow test-browser bench: export OMP_NUM_THREADS = 1
# Compiled once and kept, whatever the environment says: the tests start many processes.
test test-widths test-slow test-browser: export PYTHONDONTWRITEBYTECODE =
# The wrapper would ask the registry for a newer pyright at every call.
lint: export PYRIGHT_PYTHON_IGNORE_WARNINGS = 1

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) install --constraint constraints.txt --editable '.[dev]'
	@touch $@

$(BENCH_STAMP): $(STAMP)
	$(PIP) install --constraint constraints.txt --editable '.[dev,bench]'
	@touch $@

$(BROWSER_STAMP): $(STAMP)
	$(PIP) install --constraint constraints.txt --editable '.[dev,browser]'
	@touch $@
