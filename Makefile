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

# Beside the committed results, not over them; UCI is a folder with the tables that UCI offers.
UCI ?= data
AGAIN := runs/reproduced
TWO := runtime=cpu runtime.threads=1 hydra/launcher=gpus hydra.launcher.per_gpu=2
HERE := $(TWO) out=$(AGAIN)/out results=$(AGAIN)
DIGITS := dataset=digits dataset.size=8 model=wrn10_2 schedule=cosine schedule.epochs=8 schedule.batch_size=32
SIDE_BY_SIDE := method=erm,mixup,maxup_gauss,gradaug,augmax,patchup_soft seed=0,1 evaluation=corrupted
reproduce: $(READY)  ## Without network: mixup's Table 4 (UCI=FOLDER for all six sets), its GAN, digits and corrupted digits; tables, report
	$(RUN)python train.py -m table=mixup/table4 $(HERE) seed=0,1,2,3,4 \
	  $(if $(wildcard $(UCI)/HTRU_2.csv),dataset.root=$(UCI),+only=Iris)
	$(RUN)python train.py -m $(DIGITS) $(SIDE_BY_SIDE) $(HERE)
	$(RUN)python scripts/figures.py figure5 --steps 100 --seeds 0 --runs $(AGAIN)/gan --out $(AGAIN)/figures/mixup
	$(RUN)python scripts/tables.py --results $(AGAIN) --against results
	$(RUN)vicinal report --results $(AGAIN)

TESTS := $(RUN)python -m pytest -q -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
test: $(READY)  ## Run the test suite (CPU), but for what is marked slow
	$(TESTS) -m 'not slow'

test-all: $(READY)  ## Run all tests: every method in every form, too
	$(TESTS)

mutants: $(READY)  ## Plant faults, one at a time; the tests named for each must fail (ONLY=words)
	$(RUN)python scripts/mutants.py $(ONLY)

lint: $(READY)  ## Check style and format
	$(RUN)ruff check . && $(RUN)ruff format --check .

types: $(READY)  ## Check types
	$(RUN)pyright --pythonpath $(RUN)python

tables: $(READY)  ## Regenerate the tables from results/runs, and those in the README
	$(RUN)python scripts/tables.py --results results
	$(RUN)python scripts/readme.py

report: $(READY)  ## Regenerate results/report/index.html
	$(RUN)vicinal report --results results

WHAT ?= steps
bench: $(READY)  ## Measure speed (WHAT=steps; scripts/bench.py --help lists all)
	$(RUN)python scripts/bench.py $(WHAT) --out results/bench

FAULTS := CUDA_VISIBLE_DEVICES= $(RUN)python -m pytest -q -rs tests/faults --summary results/bench
torture: $(READY)  ## Kill, preempt, starve, damage and mistype runs by the hundred; count what survives
	$(FAULTS)/torture.json --ignore tests/faults/test_slurm_jobs.py --share 1 -n auto --maxprocesses 4

slurm: $(READY)  ## Preempt jobs on a Slurm of our own (needs root and apt-get install slurm-wlm munge)
	$(FAULTS)/slurm.json -k slurm_jobs

DATA ?= data
gpu: $(READY)  ## On a GPU, in 15 minutes: steps of every method, GPU tests, pace, real runs (DATA=FOLDER)
	$(RUN)python scripts/gpu.py --data $(DATA)

.PHONY: help setup reproduce test test-all mutants lint types tables report bench gpu torture slurm
