# The same commands for people and for CI. `make demo` is the place to begin.
SHELL := /bin/bash
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
# The first of these that is Python 3.11 to 3.13 makes the virtual environment.
PYTHON ?= python3
CANDIDATES := $(PYTHON) python3 python3.13 python3.12 python3.11
VOXELQ_PORT ?= 8080
BENCHMARKS := bench-queue bench-batching bench-mixed bench-scan bench-gpu bench-scale bench-soak bench-blocked bench-components bench-plan bench-faults

.PHONY: help setup demo up test test-faults test-wheel lint docs bench train clean $(BENCHMARKS)

help:
	@echo "make demo         set up, send a sample scan through the service, leave mask and picture in demo/"
	@echo "make up           set up and run the service until Ctrl-C"
	@echo "make test         set up and run every test"
	@echo "make test-faults  what must hold when things die, fill up, hang or lose each other (ten minutes)"
	@echo "make test-wheel   install the whole service from its wheel, and run its demo"
	@echo "make lint         formatting, types, import contracts"
	@echo "make docs         build the documentation into build/site, and check its links"
	@echo "make bench        every benchmark; make bench-queue, bench-batching, bench-mixed, bench-scan, bench-gpu: one alone"
	@echo "make bench-scale  workers against users under a clinic's traffic; make bench-soak, bench-blocked: leaks, a thousand at once"
	@echo "make bench-components  where a scan's time goes, part by part; make bench-plan: capacity plans held against real runs"
	@echo "make bench-faults  the table of faults, and half an hour of them at random"
	@echo "make train        train the default model anew, from packages alone (two hours)"
	@echo "make setup        the virtual environment with everything; make clean removes it"

setup: $(VENV)/.dev

demo: $(VENV)/.run
	$(BIN)/voxelq demo --output demo

up: $(VENV)/.run
	exec $(BIN)/voxelq up --port $(VOXELQ_PORT)

test: setup
	$(BIN)/pytest

test-faults: setup
	$(BIN)/pytest tests/faults

test-wheel: setup
	$(BIN)/pytest tests/wheel

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	$(BIN)/python -m docs.generate.check_site build/site

bench: $(BENCHMARKS)

# bench-queue runs benchmarks.queue, and so on; a plan is checked by a module of another name
$(filter-out bench-plan bench-faults,$(BENCHMARKS)): bench-%: setup
	$(BIN)/python -m benchmarks.$*

bench-plan: setup
	$(BIN)/python -m benchmarks.plan_check

# the table of the fault suite, and a soak of half an hour
bench-faults: setup
	VOXELQ_FAULTS_JSON=benchmarks/.cache/faults.json $(BIN)/pytest tests/faults
	$(BIN)/python -m benchmarks.faults --table benchmarks/.cache/faults.json
	$(BIN)/python -m benchmarks.faults --kill-oldest
	$(BIN)/python -m benchmarks.faults --minutes 30

train: setup
	$(BIN)/python -m training.train --minutes 120

clean:
	rm -rf $(VENV) demo build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Both stamps answer to the files that say what is installed; with nothing changed, neither runs.
$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $(VENV)/.run $@

$(VENV)/.run: pyproject.toml constraints.txt | $(BIN)/python
	$(BIN)/python -m pip install --quiet -c constraints.txt -e '.[all]'
	@touch $@

$(BIN)/python:
	@for python in $(CANDIDATES); do \
	    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; \
	    then echo "setting up $(VENV) with $$("$$python" --version)"; \
	        "$$python" -m venv $(VENV) && exit 0; \
	        echo "$$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"; \
	        rm -rf $(VENV); exit 1; fi; done; \
	echo "VoxelQ needs Python 3.11, 3.12 or 3.13, and none is on the PATH. Name one: make PYTHON=/path/to/python3.12"; \
	exit 1
