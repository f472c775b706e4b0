# `make` lists the targets; `make run` and `make test` do all the set-up.
.DEFAULT_GOAL := help
.PHONY: help run test check lint types bench chaos bento docs clean lock
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PORT ?= 3000
KILLS ?= 500
FUZZ ?= 50000
SOCKETS ?= 2000
FAULTS ?= 30
MUTATIONS ?= 200
SWAPS ?= 200
OVERLOAD ?= 10
STOPS ?= 20
POSTGRES_KILLS ?= 20
SOAK ?= 60
WORKERS ?= logical
export OMP_WAIT_POLICY ?= passive
export OPENBLAS_NUM_THREADS ?= 1
export MLFLOW_DISABLE_TELEMETRY := true
export BENTOML_DO_NOT_TRACK := true
unexport ENCOURS_TODAY

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 10

run: $(VENV)/run.done  ## serve assessments; on first use simulate, import, train (LEDGER=path MAPPING=path for your own file, a FEC needs no MAPPING)
	@$(BIN)/encours run --port $(PORT) $(if $(LEDGER),--ledger "$(LEDGER)") $(if $(MAPPING),--mapping "$(MAPPING)")

test: $(VENV)/dev.done  ## run every check and test, on up to four cores (WORKERS=0: in one process)
	@$(MAKE) --no-print-directory check
	@$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 --dist loadfile

check: lint types  ## lint and types

lint: $(VENV)/dev.done  ## style, and who may import whom
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports

types: $(VENV)/dev.done  ## mypy, strict
	@$(BIN)/mypy

bench: $(VENV)/dev.done  ## accuracy, speed and memory beside their targets, kept in docs/benchmarks.md (BENCH="--invoices 100000" for less)
	@missed=0; for part in accuracy card_clients polish simulated_default decisions training serving audit replay counterfactuals portfolio; do \
	  $(BIN)/python -m benchmarks.$$part || missed=1; done; \
	$(BIN)/python -m benchmarks.features $(BENCH) && exit $$missed

chaos: $(VENV)/dev.done  ## break the running service in every way we know, kept in docs/reliability.md (KILLS=20 SOAK=1 for less)
	@missed=0; run() { $(BIN)/python -m benchmarks.$$* || missed=1; }; \
	run kills --cycles $(KILLS); \
	run fuzz --requests $(FUZZ) --sockets $(SOCKETS); \
	run faults --seconds $(FAULTS); \
	run champions --mutations $(MUTATIONS) --swaps $(SWAPS); \
	run overload --seconds $(OVERLOAD); \
	run stopping --cycles $(STOPS); \
	run postgres_faults --kills $(POSTGRES_KILLS); \
	run bento; \
	run soak --minutes $(SOAK); \
	exit $$missed

bento: $(VENV)/run.done  ## pack the service as a bento, to serve or containerize elsewhere
	@$(BIN)/python -m bentoml build .

docs: $(VENV)/dev.done  ## the pages of the features and of the ledger, and the contract
	@$(BIN)/python -m docs.dictionary_page
	@$(BIN)/python -m docs.ledger_page
	@$(BIN)/python -m docs.openapi_page
	@$(BIN)/python -m docs.client_code
	@$(BIN)/python -m docs.integration_page

lock:  ## resolve the locks anew (needs uv)
	uv pip compile pyproject.toml --group build --generate-hashes --no-header --python-version 3.11 -o requirements.lock
	uv pip compile pyproject.toml --extra cluster --group build --group dev -c requirements.lock --generate-hashes --no-header --python-version 3.11 -o requirements-dev.lock

clean:  ## remove what was built; data in var/ stays
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("encours needs Python 3.11 or newer, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@$(PYTHON) -c 'import ctypes; ctypes.CDLL("libgomp.so.1")' 2>/dev/null || { \
	  echo "LightGBM needs libgomp1: as root, apt-get install -y libgomp1" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "Python's venv is missing: as root, apt-get install -y python3-venv" >&2; exit 1; }

$(VENV)/run.done: requirements.lock pyproject.toml | $(VENV)/bin/python
	@if [ ! $(VENV)/dev.done -nt requirements.lock ]; then echo "Installing what the service needs (a minute or two)"; $(call install,requirements.lock); fi
	@touch $@

$(VENV)/dev.done: requirements-dev.lock pyproject.toml | $(VENV)/bin/python
	@echo "Installing what the tests need (a minute or two)"
	@$(call install,requirements-dev.lock)
	@touch $@

define install
$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r $(1) \
  && $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
endef
