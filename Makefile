# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= python3
PORT ?= 8080
# Each has servers of its own, and a file of tests stays together, in the order of the tree: its last rooms have no long
# files to wait for. With 0, and in an editor, they run one after another.
PROCESSES ?= 2
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
SELF := install --no-deps --no-build-isolation --no-index --editable .
COMPILED := $(wildcard compiled/*.pyx compiled/*.pxd) compiled/__init__.py compiled/build.py
export PORT

.DEFAULT_GOAL := help
.PHONY: help run test check format bench profile regression lock clean

help: ## Lists these targets.
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

run: $(VENV)/.runtime $(VENV)/.compiled ## Serves the whole product on embedded defaults at http://127.0.0.1:8080 (PORT= changes it).
	@exec $(BIN)/portreeve demo

test: $(VENV)/.development $(VENV)/.compiled ## Runs the whole suite, against real Redis and PostgreSQL too.
	$(BIN)/python -m pytest --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder --cov --cov-report=term $(ARGS)

check: $(VENV)/.development $(VENV)/.compiled ## Lint, format, types and import contracts.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.development ## Rewrites the code in the house format.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(VENV)/.bench $(VENV)/.compiled ## Compares with other gateways on this machine (QUICK=1: in two minutes); see bench/README.md.
	$(BIN)/python -m bench $(if $(QUICK),--quick) $(ARGS)

profile: $(VENV)/.development $(VENV)/.compiled ## Shows where the CPU of one request goes, by stage.
	$(BIN)/python -m bench.profile

regression: $(VENV)/.development $(VENV)/.compiled ## Fails when a request has become dearer, measured in yardsticks.
	$(BIN)/python -m bench.regression $(ARGS)

lock: ## Resolves the dependencies anew into the hashed locks (needs uv).
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra build pyproject.toml -o requirements.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --extra build --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
	  --group bench -o requirements-bench.lock

clean: ## Removes the virtual environment, caches and the demo's state.
	rm -rf $(VENV) compiled/*.so compiled/built.* .portreeve .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis .coverage*

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements.lock
	$(PIP) $(SELF)
	@touch $@

$(VENV)/.development: requirements-dev.lock pyproject.toml | $(BIN)/python
	$(PIP) install --require-hashes -r requirements-dev.lock
	$(PIP) $(SELF)
	@touch $@ $(VENV)/.runtime

# Where there is no C compiler, this says so, everything runs interpreted, and the next run asks again.
$(VENV)/.compiled: $(COMPILED) $(VENV)/.runtime
	@if $(BIN)/python -m compiled.build --require; then touch $@; fi

# What is compared with is not needed to measure: where there is no such package, the bench names it as missing.
$(VENV)/.bench: requirements-bench.lock $(VENV)/.development
	$(PIP) install --require-hashes -r requirements-bench.lock || echo "going on without what is in $<"
	@touch $@
