# lt-bench. `make help` lists the targets. A fresh machine needs python3 (3.11 or later) and make; the rest is set up here.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
RESULTS ?= results/shipped
DEVICE ?= cpu
QUICK ?=

.DEFAULT_GOAL := help
.PHONY: help setup leaderboard test test-slow check golden docs site picture format bench clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## make the environment in .venv (other targets do it by themselves)

# uv comes from the package index into the environment: it installs in seconds what takes pip minutes. Compiled once, torch and Lightning are not
# compiled by every command where Python may not write its own bytecode (containers).
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "lt-bench needs Python 3.11 or later: make PYTHON=/path/to/python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --compile-bytecode --editable . --group dev
	@touch $(READY)

leaderboard: $(READY) ## run the shipped suites on the shipped features of three backbones, print the tables, write them to leaderboard/
	$(BIN)/lt-bench bench shipped --results $(RESULTS)
	$(BIN)/lt-bench bench stage1_seeds --results $(RESULTS)
	$(BIN)/lt-bench bench controls --results $(RESULTS)
	$(BIN)/lt-bench leaderboard --results $(RESULTS) --out leaderboard --against joint
	@echo "next: source $(BIN)/activate, then lt-bench run ... --results $(RESULTS) puts other heads beside these rows (docs/tutorial.md, docs/own_strategy.md)"

# The tests start about a hundred processes; each would compile the package anew where Python may not write its own bytecode.
test: $(READY) ## the tests
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n 2 --dist loadfile

test-slow: $(READY) ## the slow tests too
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile

bench: $(READY) ## what everything costs, beside its floor: benchmarks/results/ (QUICK=--quick for two minutes, DEVICE=cuda for a GPU)
	$(BIN)/python -m benchmarks.speed --device $(DEVICE) $(QUICK)

check: $(READY) ## lint, formatting, types, and which room imports which
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python
	$(BIN)/lint-imports --no-cache

golden: $(READY) ## compare the numbers of every strategy with those of its revision, and write them where a revision was raised
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.strategies.golden_revisions

docs: $(READY) ## write docs/strategies, datasets.md and backbones.md from the source
	$(BIN)/python -m lt_bench.strategies.pages
	$(BIN)/python -m lt_bench.data.docs > docs/datasets.md
	$(BIN)/python -m lt_bench.backbones.docs > docs/backbones.md

site: $(READY) ## the documentation as a site, in build/site: `python3 -m http.server -d build/site` shows it
	$(BIN)/uv pip install --quiet --python $(BIN)/python --constraints constraints.txt --group site
	$(BIN)/lt-bench leaderboard --results benchmarks/results/shipped --out build/leaderboard --formats html,plots --quiet
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet

picture: $(READY) ## docs/leaderboard.png from the shipped records (needs Chromium: apt-get install chromium)
	$(BIN)/lt-bench leaderboard --results benchmarks/results/shipped --out build/leaderboard --formats html
	$(BIN)/python -m benchmarks.picture build/leaderboard/leaderboard.html docs/leaderboard.png

format: $(READY) ## rewrite the code in the house format
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .

clean: ## remove the environment and what was built
	rm -rf $(VENV) build dist .pytest_cache .ruff_cache .import_linter_cache
