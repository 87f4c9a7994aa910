.DEFAULT_GOAL := help
SHELL := bash
PYTHON ?= python3
VENV ?= .venv
READY := $(VENV)/ready
RUN := $(VENV)/bin/

help:  ## List these targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## */\t/' | expand -t 14

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "vicinal needs Python 3.11 or newer")'
	$(PYTHON) -m venv $(VENV)
	$(RUN)python -m pip install --quiet -c requirements.lock -e '.[dev]'
	touch $@

setup: $(READY)  ## Make .venv with everything pinned

DIGITS := dataset=digits model=wrn10_2 schedule.epochs=6 schedule.batch_size=32 runtime=cpu seed=0,1,2
reproduce: $(READY)  ## Train four methods, three seeds each, on the embedded digits; print the table
	$(RUN)python train.py -m $(DIGITS) method=erm,mixup,cutmix
	$(RUN)python train.py -m $(DIGITS) method=maxup_cutout method.vicinity.length=6
	$(RUN)python scripts/tables.py

test: $(READY)  ## Run the test suite (CPU)
	$(RUN)python -m pytest -q -n auto --maxprocesses 4

lint: $(READY)  ## Check style and format
	$(RUN)ruff check . && $(RUN)ruff format --check .

types: $(READY)  ## Check types
	$(RUN)pyright --pythonpath $(RUN)python

tables: $(READY)  ## Regenerate the tables from results/runs, and the README's
	$(RUN)python scripts/tables.py --readme README.md

report: tables  ## Regenerate the tables, then results/report/index.html
	$(RUN)python scripts/report.py

bench: $(READY)  ## Time every method's step against ERM's, and ours against a bare loop
	$(RUN)python scripts/bench.py

torture: $(READY)  ## Kill, preempt, starve, damage and mistype runs; count what survives
	$(RUN)python scripts/torture.py

gpu: $(READY)  ## On a GPU machine: the GPU tests, then the bench at CIFAR size
	$(RUN)python -m pytest -q -m gpu
	$(RUN)python scripts/bench.py runtime=cuda

.PHONY: help setup reproduce test lint types tables report bench torture gpu
