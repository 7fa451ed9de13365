# Everything runs from .venv, which is made from requirements.lock when it is missing or older.
# `make table2` and `make test` need nothing but Python 3.11 or newer, its venv module, and a package index.

PYTHON  ?= python3
STAGE1  ?= shipped
WORKERS ?= 1
PORT    ?= 5000
DEVICE  ?= cpu
JOBS    ?= 2

VENV  := .venv
BIN   := $(VENV)/bin
STAMP := $(VENV)/.installed

# Ray gives every task one core, so a process has one thread unless it asks for more.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE
export RAY_USAGE_STATS_ENABLED := 0
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help install tune table1 table1-smoke table2 paper-dry-run smoke stage1 test test-fast drills lint bench format ui readme lock clean

help: ## list the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

$(STAMP): requirements.lock pyproject.toml
	@command -v "$(PYTHON)" >/dev/null || { \
	  echo "make: '$(PYTHON)' not found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: $$("$(PYTHON)" --version) is too old: 3.11 or newer is needed; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "make: '$(PYTHON)' has no venv module: on Debian, apt-get install python3-venv" >&2; exit 2; }
	"$(PYTHON)" -m venv $(VENV)
	$(BIN)/pip install --quiet -r requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

install: $(STAMP) ## make .venv

table2: $(STAMP) ## the paper's Table 2 on the embedded data, into runs/table2 (STAGE1=train trains stage 1 anew)
	$(BIN)/multibodies sweep sweeps/table2.toml --out runs/table2 --stage1 $(STAGE1) --workers $(WORKERS)

smoke: $(STAMP) ## the same path and files in under 3 minutes, into runs/table2-smoke
	$(BIN)/multibodies sweep sweeps/table2.toml --smoke --out runs/table2-smoke --stage1 $(STAGE1) --workers $(WORKERS)

tune: $(STAMP) ## five trainings of each system of Table 1 on val, the same budget for all, into runs/tune_NAME
	@for name in $(basename $(notdir $(wildcard sweeps/tune_*.toml))); do $(BIN)/multibodies sweep sweeps/$$name.toml --out runs/$$name --stage1 $(STAGE1) || exit; done

table1: $(STAMP) ## the paper's Table 1, six systems on the embedded data, into runs/table1 (takes over what runs/table2 has made)
	$(BIN)/multibodies sweep sweeps/table1.toml --out runs/table1 --stage1 $(STAGE1) --workers $(WORKERS)

table1-smoke: $(STAMP) ## the same path and files in under 5 minutes, into runs/table1-smoke
	$(BIN)/multibodies sweep sweeps/table1.toml --smoke --out runs/table1-smoke --stage1 $(STAGE1) --workers $(WORKERS)

test: lint ## lint, types, import contracts and every test but the drills
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not drill"

drills: $(STAMP) ## rehearsals: every other sweep, the paper's road on look-alikes, submission; workers, nodes and drivers killed: nothing lost, nothing twice
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m drill

test-fast: $(STAMP) ## the tests that start no Ray, no server and no training
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow"

lint: $(STAMP) ## ruff, mypy, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	PYTHONPATH=platform $(BIN)/lint-imports

bench: $(STAMP) ## speed and memory as ratios, into runs/bench (10 minutes; DEVICE=cuda on a GPU)
	-@$(BIN)/python -c 'import body_models' 2>/dev/null || $(BIN)/pip install --quiet -c requirements.lock --no-build-isolation -e '.[bench]'
	GOMP_SPINCOUNT=0 $(BIN)/multibodies bench --out runs/bench --device $(DEVICE)

paper-dry-run: $(STAMP) ## all that the paper's experiment runs, on look-alikes of its sets, into runs/paper-dry-run
	$(BIN)/python jobs/paper_dry_run.py runs/paper-dry-run

format: $(STAMP) ## let ruff lay out the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

stage1: $(STAMP) ## the shipped stage 1 anew, into runs/stage1 (about an hour on one core; killed, it goes on)
	$(BIN)/multibodies train --stage 1 --out runs/stage1 --ship runs/stage1/shipped

ui: $(STAMP) ## the MLflow UI on runs/table2, at http://127.0.0.1:5000 (PORT=...)
	$(BIN)/multibodies ui runs/table2 --port $(PORT)

readme: $(STAMP) ## write README's table of switches again from the configuration
	$(BIN)/python docs/switches.py

lock: ## write requirements.lock again from pyproject.toml
	rm -rf $(VENV)-lock
	"$(PYTHON)" -m venv $(VENV)-lock
	$(VENV)-lock/bin/pip install --quiet -e '.[dev]'
	{ sed -n '/^#/p' requirements.lock; \
	  $(VENV)-lock/bin/pip freeze --all --exclude-editable | grep -v -E '^(pip|wheel)==' | sed 's/+cpu$$//'; } > requirements.lock.tmp
	mv requirements.lock.tmp requirements.lock
	rm -rf $(VENV)-lock

clean: ## remove .venv, runs/ and caches
	rm -rf $(VENV) runs build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find platform jobs tests docs -name __pycache__ -type d -prune -exec rm -rf {} +
