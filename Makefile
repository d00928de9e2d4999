# The workbench's commands; "make help" lists them. Everything is installed into .venv, and again
# only when pyproject.toml or constraints.txt has changed. GNU make, Linux and macOS.

VENV := .venv
BIN := $(VENV)/bin

# The interpreter that .venv is made with: the first of these that is Python 3.11 to 3.13.
PYTHONS ?= python3.12 python3.11 python3.13 python3
# Words for pip, as in: make demo PIP_FLAGS="--extra-index-url https://..."
PIP_FLAGS ?=
# make demo CPU=1 takes PyTorch's build for CPUs: on Linux a far smaller download, and no GPU.
ifdef CPU
PIP_FLAGS += --extra-index-url https://download.pytorch.org/whl/cpu
endif
# Words for pytest, as in: make test PYTEST_FLAGS="-k tokenizer -x"
PYTEST_FLAGS ?=
# Processes that share the tests out, a file at a time; 0 runs them in one, where a debugger works.
WORKERS ?= 2

PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_FLAGS) \
	-c constraints.txt
# Tests reach for nothing outside this machine.
OFFLINE := HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_HUB_DISABLE_TELEMETRY=1
NOTEBOOKS = $(wildcard notebooks/*.ipynb)

.DEFAULT_GOAL := help
.PHONY: demo test lab check notebooks binder-check clean help

demo: $(VENV)/.runtime ## install, then run the whole series on the starter corpus
	$(BIN)/workbench demo

test: $(VENV)/.test ## run all tests, offline
	$(OFFLINE) OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile $(PYTEST_FLAGS)

lab: $(VENV)/.runtime ## open JupyterLab on the notebooks
	$(BIN)/workbench lab

check: $(VENV)/.dev ## lint, formatting, types, floors, stripped notebooks
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(if $(NOTEBOOKS),$(BIN)/nbstripout --verify $(NOTEBOOKS),@echo "no notebooks to verify")

notebooks: $(VENV)/.test ## execute every notebook
	$(OFFLINE) $(BIN)/python -m pytest $(PYTEST_FLAGS) tests/test_notebooks.py

binder-check: $(VENV)/.dev ## check what Binder would build, without Docker
	$(BIN)/python tools/binder_check.py

clean: ## remove .venv, caches and build leftovers; runs/ stays
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -path ./runs -prune -o -type d \( -name __pycache__ -o -name .ipynb_checkpoints \) \
		-prune -exec rm -rf {} +

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' Makefile

# The stamps. Each is written last, so an interrupted installation is taken up again; a larger set
# of packages contains the smaller ones.
$(VENV)/.runtime: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP_INSTALL) -e .
	touch $@

$(VENV)/.test: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP_INSTALL) -e '.[test]'
	touch $(VENV)/.runtime $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	$(PIP_INSTALL) -e '.[dev,test]'
	touch $(VENV)/.runtime $(VENV)/.test $@

$(VENV)/.made:
	@for python in $(PYTHONS); do \
		if "$$python" -c 'import ensurepip, sys, venv; \
		sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' >/dev/null 2>&1; then \
			echo "making $(VENV) with $$python"; \
			"$$python" -m venv --clear $(VENV) && touch $@; \
			exit; \
		fi; \
	done; \
	echo "error: needs Python 3.11, 3.12 or 3.13 with venv and ensurepip, tried: $(PYTHONS)" >&2; \
	echo "       (on Debian and Ubuntu: apt install python3-venv)" >&2; \
	exit 1
