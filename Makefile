# The two commands of a newcomer: `make demo` and `make test`. Both set up .venv on their own.
#
# TORCH_INDEX  an index that offers the CPU build of torch, e.g. https://download.pytorch.org/whl/cpu
#              (empty: pip takes what is at hand, on Linux usually the CUDA build)
# PYTHON       the interpreter that .venv is made with (3.11 or newer)
# NAME         the measured job of `make bench`
# WORKERS      processes that share the tests, each with one thread of arithmetic; about 2 GB of memory each

PYTHON ?= python3
TORCH_INDEX ?=
WORKERS ?= 2
VENV := .venv
BIN := $(VENV)/bin
# What is used is compiled as it is imported, and kept: to compile all of it first takes minutes. Where the environment
# forbids to keep it, each process would compile everything anew.
export PYTHONDONTWRITEBYTECODE :=
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
PYTEST := $(BIN)/python -m pytest -p no:cacheprovider
# A file's tests stay in one process, so that what they share is made once. Folders with long tests come first, or one
# process would still have them to itself when the other has nothing left.
LONG := tests/training/ tests/flow/
FOLDERS := $(LONG) $(filter-out $(LONG) tests/__pycache__/,$(wildcard tests/*/))
SHARED := $(PYTEST) --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help demo test test-services test-ray test-realdata test-learned test-gpu test-bench check types lint format imports figures realdata slow fix bench report wheel clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python %d.%d found; expected 3.11 or newer; run make PYTHON=python3.11" % sys.version_info[:2])'
	@$(PYTHON) -m venv $(VENV) || ($(PYTHON) -m pip install --user virtualenv && $(PYTHON) -m virtualenv $(VENV))
	@touch $@

$(VENV)/.run: $(VENV)/.made pyproject.toml constraints.txt
	@echo "installing into $(VENV): a few minutes the first time"
	@$(PIP) $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	@$(PIP) --editable '.[train,cpu,offline]'
	@touch $@

$(VENV)/.dev: $(VENV)/.run
	@$(PIP) --editable '.[train,cpu,offline,redis,postgres,s3,excel,ray,dev]'
	@touch $@

demo: $(VENV)/.run  ## the whole line on a made-up shop, results in the terminal
	@$(BIN)/recsys demo

test: $(VENV)/.dev  ## every test that needs nothing but pip
	$(SHARED) $(FOLDERS)

test-services: $(VENV)/.dev  ## tests on Redis, PostgreSQL and Chromium (install them first: see .ci/run)
	$(PYTEST) -m services

test-ray: $(VENV)/.dev  ## tables built by Ray clusters on this machine that lose a worker and a node: some minutes
	$(PYTEST) -m cluster

test-realdata: $(VENV)/.dev  ## the real shops in RECSYS_REAL_DATA, short trainings, the wheel far from the checkout
	@$(MAKE) --no-print-directory --jobs $(WORKERS) --output-sync=target realdata slow

realdata:
	$(PYTEST) -m realdata

slow:
	$(PYTEST) -m slow

test-learned: $(VENV)/.dev  ## every learned stage against its baseline on three fresh sample shops: over half an hour
	$(PYTEST) -m learned

test-gpu:  ## the training loop on a GPU; wants torch, lightning, transformers and pytest in PYTHON, nothing else
	$(PYTHON) -m pytest -p no:cacheprovider -m gpu -W default tests/training/test_gpu.py

test-bench: $(VENV)/.dev  ## speed against named peers, in one run
	$(PYTEST) -m bench tests/benchmarks

check: $(VENV)/.dev  ## lint, format, types, imports, and that BENCHMARKS.md is what the results say
	@$(MAKE) --no-print-directory --jobs 2 types lint format imports figures

types:
	$(BIN)/mypy

lint:
	$(BIN)/ruff check .

format:
	$(BIN)/ruff format --check .

imports:
	$(BIN)/lint-imports

figures:
	$(BIN)/python -m benchmarks.report --check

fix: $(VENV)/.dev  ## what ruff can mend by itself
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.dev  ## run or resume the measured job NAME
	$(BIN)/python -m benchmarks.run $(NAME)

report: $(VENV)/.dev  ## make BENCHMARKS.md of the results
	$(BIN)/python -m benchmarks.report

wheel: $(VENV)/.dev  ## build the wheel into dist
	$(BIN)/python -m build --wheel --outdir dist

clean:  ## remove what was built; state in RECSYS_HOME stays
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
