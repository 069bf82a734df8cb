# Everything a newcomer or CI runs. `make` alone lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip --disable-pip-version-check --no-input
ARGS   ?=
# How many test processes run side by side; a file's tests stay together, for they share their Gatehouse.
JOBS   ?= 2
PYTEST := -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder

# Apart from the other, whose editable install runs plain.
COMPILED     := .venv-compiled
COMPILED_PIP := $(COMPILED)/bin/python -m pip --disable-pip-version-check --no-input

.DEFAULT_GOAL := help
.PHONY: help demo demo-check test test-all test-compiled test-sanitizers test-suites fuzz crowd lint format compile bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-16s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed-demo ## PostgreSQL, four tenants and Gatehouse on this machine (ARGS='--port 6433' …)
	@$(BIN)/gatehouse demo $(ARGS)

demo-check: $(VENV)/.installed-demo ## the same without staying: proves that tenants do not see each other
	@$(BIN)/gatehouse demo --check $(ARGS)

test: lint ## lint, types, layers, and all tests but the slow ones
	$(BIN)/python $(PYTEST) -m 'not slow' $(ARGS)

test-all: lint ## the same with the slow tests
	$(BIN)/python $(PYTEST) $(ARGS)

test-sanitizers: $(VENV)/.installed-dev ## what is in C, watched for reads and writes out of bounds (gcc; ARGS='tests/unit/net' …)
	$(BIN)/python -m tests.sanitizers $(ARGS)

test-suites: $(VENV)/.installed-dev ## public test suites, straight and through Gatehouse; fetched, not kept (ARGS='…')
	$(BIN)/python -m tests.suites $(ARGS)

fuzz: $(VENV)/.installed-dev ## hostile byte streams for five minutes (ARGS='--seconds 60 --seed 1' …)
	$(BIN)/python -m tests.fuzz $(ARGS)

crowd: $(VENV)/.installed-dev ## many clients at random, compared with PostgreSQL itself, for five minutes (ARGS='--seconds 60 --seed 1' …)
	$(BIN)/python -m tests.crowd $(ARGS)

lint: $(VENV)/.installed-dev ## format, lint, types and layer contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev ## put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

compile: $(COMPILED)/.installed ## the hot modules by mypyc, installed in .venv-compiled (needs a C compiler)

# Beside a copy of the tests, because beside the tree they would import the tree.
test-compiled: $(COMPILED)/.installed-test ## the tests of `make test` against the compiled package
	@rm -rf $(COMPILED)/tree && mkdir $(COMPILED)/tree
	@cp -R pyproject.toml README.md config deploy docs tests $(COMPILED)/tree/
	@cd $(COMPILED)/tree && ../bin/python -P -c 'import proxy.server.ledger as m; assert m.__file__.endswith(".so"), m.__file__'
	cd $(COMPILED)/tree && ../bin/python -P $(PYTEST) -m 'not slow' $(ARGS)

bench: $(VENV)/.installed-demo $(COMPILED)/.installed ## Gatehouse beside its peers; see benchmarks/README.md (ARGS='--quick' …)
	$(BIN)/python -m benchmarks $(ARGS)

clean: ## remove what was installed, built or cached here
	rm -rf $(VENV) $(COMPILED) .demo .cache build dist *.egg-info .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets stand on: a stamp per set of packages, renewed when the lists change

$(VENV)/.installed-%: pyproject.toml deploy/constraints.txt | $(BIN)/python
	@echo "installing gatehouse[$*] into $(VENV) (the first time takes a minute) …"
	@$(PIP) install --quiet -c deploy/constraints.txt -e '.[$*]' || { \
	    echo >&2; \
	    echo "make: the packages could not be installed; pip's reason is above. If this machine has no network, or reaches" >&2; \
	    echo "      packages through a mirror or a proxy, tell pip (PIP_INDEX_URL, HTTPS_PROXY) and run make again." >&2; \
	    exit 1; }
	@touch $@

$(COMPILED)/.installed: $(shell find proxy deploy/sql -name '*.py' -o -name '*.c' -o -name '*.sql') pyproject.toml $(wildcard deploy/*.py) deploy/constraints.txt | $(COMPILED)/bin/python
	@echo "compiling the hot modules into $(COMPILED) (a minute) …"
	@rm -rf $(COMPILED)/wheel
	@GATEHOUSE_COMPILE=require $(COMPILED_PIP) wheel --quiet --no-deps -w $(COMPILED)/wheel .
	@$(COMPILED_PIP) install --quiet -c deploy/constraints.txt $(COMPILED)/wheel/*.whl
	@$(COMPILED_PIP) install --quiet --force-reinstall --no-deps $(COMPILED)/wheel/*.whl
	@touch $@

$(COMPILED)/.installed-test: $(COMPILED)/.installed
	@$(COMPILED_PIP) install --quiet -c deploy/constraints.txt "$$(ls $(COMPILED)/wheel/*.whl)[test]"
	@touch $@

$(COMPILED)/bin/python: | $(BIN)/python
	@$(PYTHON) -m venv $(COMPILED)
	@echo '*' > $(COMPILED)/.gitignore

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "make: Gatehouse needs Python 3.11 or later, and '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1)." >&2; \
	    echo "      Install one and name it: make PYTHON=python3.12 …" >&2; \
	    exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "make: '$(PYTHON)' comes without the venv module. On Debian and Ubuntu: apt install python3-venv" >&2; \
	    exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
