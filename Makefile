# Two commands matter: `make demo` and `make test`. Both work on a fresh checkout; see README.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1
FUZZ_SECONDS ?= 600

.PHONY: demo test test-slow fuzz lint format lock fixtures bench clean

# constraints.txt pins every package, so tomorrow's release of a dependency cannot break these commands.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/pip install -q -c constraints.txt -e '.[dev]'
	touch $@

demo: $(VENV)/.installed
	$(BIN)/consentry demo

test: $(VENV)/.installed-dev lint
	$(BIN)/pytest

# The heavy sweeps: a kill at every write, fifty random kills, large buckets.
test-slow: $(VENV)/.installed-dev
	$(BIN)/pytest -m slow

# Every parser, with coverage (atheris), one target after the other; what is found lies in .fuzz.
fuzz: $(VENV)/.installed-dev
	$(BIN)/pip install -q -c constraints.txt -e '.[fuzz]'
	$(BIN)/python -m tests.fuzz.run all --seconds $(FUZZ_SECONDS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# A new lock: resolve from scratch in an empty environment, then write down what was chosen.
lock:
	rm -rf $(VENV)-lock && $(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install -q '.[dev,heic,gcs,azure,postgres]'
	$(VENV)-lock/bin/pip freeze --exclude consentry > constraints.txt
	rm -rf $(VENV)-lock

fixtures: $(VENV)/.installed-dev
	$(BIN)/python -m fixtures.generate

bench: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.detect
	$(BIN)/python -m benchmarks.supervision
	$(BIN)/python -m benchmarks.rescan
	$(BIN)/python benchmarks/listing.py

clean:
	rm -rf $(VENV) .consentry dist build .pytest_cache .mypy_cache .ruff_cache
