# `make demo` and `make test` work on a machine with Python 3.11+ and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := none,check-then-decr,memcached-cas,memcached-cas-retry,redis-lua,redis-queue,row-lock,conditional-update

.PHONY: demo test check bench explored mutants lock clean

demo: $(VENV)/.installed ## compare the lock strategies at the incident's scale: 10,000 bidders, 10,000,000 yuan
	@$(BIN)/oversold compare bid-burst --strategies $(DEMO) --preset seed || test $$? -eq 1

test: $(VENV)/.installed ## the whole suite: three tests at a time (many wait), then those that a race decides one by one
	$(BIN)/python -m pytest -n 3 --dist worksteal -m "not alone"
	$(BIN)/python -m pytest -m alone

check: $(VENV)/.installed ## the fast part: style, types, unit tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -n 2 --dist worksteal tests/unit tests/test_tidy.py -m "not slow"

bench: $(VENV)/.installed ## oversold beside plain Locust, redis-benchmark, k6, wrk and frontrun; the audit of 10^5 to 10^7 taps
	$(BIN)/python benchmarks/lanes.py
	$(BIN)/python benchmarks/over_http.py
	$(BIN)/python benchmarks/audit.py --large
	$(BIN)/python benchmarks/explorer.py

explored: $(VENV)/.installed ## explore every design of the catalogue and write docs/explored.md (about 20 minutes)
	$(BIN)/python benchmarks/explored.py

mutants: $(VENV)/.installed ## break the sound designs, and see which breaks the explorer finds: docs/mutants.md (40 minutes)
	$(BIN)/python -m tests.mutants --markdown docs/mutants.md

$(VENV)/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "oversold needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

lock: ## pin what pyproject.toml allows today
	uv pip compile --universal --python-version 3.11 --generate-hashes --extra dev --no-header --no-annotate \
		--output-file requirements.lock pyproject.toml

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
