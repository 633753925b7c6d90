PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: train test test-all check experiment benchmark clean

train: $(VENV)/installed        ## install, fetch data and weights, train and print the table (about eight minutes on 2 cores)
	$(BIN)/python -m cold_jax.train +experiment=lora_user_cold

test: $(VENV)/installed         ## the fast tests: no network, no assets
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not faults and not assets and not network"

check: $(VENV)/installed        ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

test-all: $(VENV)/installed     ## every test: the slow ones, kills and disk faults, the default data and weights
	$(BIN)/python -m pytest -n 2

experiment: $(VENV)/installed   ## NAME=… remakes experiments/NAME's table; ARGS="KEY=VALUE …" gives what its README.md asks for
	$(BIN)/python scripts/experiment.py $(NAME) $(ARGS)

benchmark: .venv-bench/installed ## beside torch, PEFT and sentence-transformers, in an environment of its own; ONLY=lora_step,encode for some rows
	.venv-bench/bin/python scripts/benchmark.py $(ONLY)

.venv-bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable '.[bench]' --constraint constraints.txt
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info
