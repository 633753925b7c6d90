PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: install train test test-all check docs experiment benchmark clean

install: $(VENV)/installed      ## a virtual environment with cold_jax and the tools of its tests; then: source .venv/bin/activate

train: $(VENV)/installed        ## fetch MovieLens-100k and MiniLM, train, print the table (about eight minutes on 2 cores)
	$(BIN)/python -m cold_jax.train +experiment=lora_user_cold

test: $(VENV)/installed         ## the fast tests: no network, no downloads
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not faults and not assets and not network"

check: $(VENV)/installed        ## lint, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: $(VENV)/installed         ## the site, in build/docs; a warning is an error, nothing is fetched
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs

test-all: $(VENV)/installed     ## every test, including slow ones, fault injection and the default data and weights
	$(BIN)/python -m pytest -n 2

experiment: $(VENV)/installed   ## NAME=… remakes the table of experiments/NAME; ARGS="KEY=VALUE …": the folders that its README.md names
	$(BIN)/python scripts/experiment.py $(NAME) $(ARGS)

benchmark: .venv-bench/installed ## against torch, PEFT and sentence-transformers, in .venv-bench; ONLY=lora_step,encode for some rows
	.venv-bench/bin/python scripts/benchmark.py $(ONLY)

.venv-bench/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv-bench
	.venv-bench/bin/python -m pip install --quiet --editable '.[bench]' --constraint constraints.txt
	touch $@

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]' --constraint constraints.txt
	touch $@

clean:
	rm -rf $(VENV) .venv-bench build dist *.egg-info
