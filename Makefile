# Two commands: `make demo` shows the whole thing offline, `make test` tests it.
# Everything else is for those who change it. Needs Python 3.11+, make and git; uses uv if it is there.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: setup demo test test-all check bench dev format clean

setup: $(READY)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed; say which with: make PYTHON=python3.12 …")'
	@echo "Setting up $(VENV) (a minute the first time) …"
	@if command -v uv >/dev/null 2>&1; then \
		uv venv --quiet --allow-existing --python $(PYTHON) $(VENV) && \
		uv pip install --quiet --compile-bytecode --python $(BIN)/python --require-hashes -r requirements.lock && \
		uv pip install --quiet --python $(BIN)/python --no-deps -e . ; \
	else \
		$(PYTHON) -m venv $(VENV) && \
		$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock && \
		$(BIN)/python -m pip install --quiet --no-deps -e . ; \
	fi
	@touch $(READY)

demo: setup
	@$(BIN)/python -m harmony_pipelines.demo

test: setup
	@$(BIN)/python -m pytest -n auto -m "not slow"

# The second holds real processes to real seconds: one at a time, or the machine is measured.
test-all: setup
	@$(BIN)/python -m pytest -n auto -m slow --ignore=harmony_pipelines_tests/lifecycle
	@$(BIN)/python -m pytest -m slow harmony_pipelines_tests/lifecycle

check: setup
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m basedpyright
	@$(BIN)/lint-imports
	@$(BIN)/python -m dagster definitions validate -w workspace.yaml

bench: setup
	@$(BIN)/python -m benchmarks $(if $(QUICK),--quick)

dev: setup
	@$(BIN)/python -m harmony_pipelines.dev $(if $(DEMO),--demo) $(if $(READ_ONLY),--read-only)

format: setup
	@$(BIN)/python -m ruff format .
	@$(BIN)/python -m ruff check --fix .

clean:
	rm -rf $(VENV) .demo
