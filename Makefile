# make run    set up .venv if needed, then run the notebooks:  make run JOBS=1 ARGS="--profile full --data FOLDER"
# make test   set up .venv if needed, then lint and run every test
# make quick  the same without the slow tests
# make kaggle-test  the packed notebook on a rebuilt Kaggle machine: Python 3.12 (KAGGLE_PYTHON=python3.12) with Kaggle's versions
#             in .venv-kaggle, Linux
# make bench  every benchmark against its rivals, which are set up in .venv-bench: up to half an hour; benchmarks/README.md
# make clean  remove .venv, .venv-bench and .venv-kaggle; runs and data stay

PYTHON ?= python3
ARGS ?=
JOBS ?=
KAGGLE_PYTHON ?= python3.12
VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
INSTALL := -m pip --disable-pip-version-check install --quiet
SPREAD := -n 2 --dist loadfile --no-loadscope-reorder
PIP := $(BIN)/python $(INSTALL)

.PHONY: run test quick lint setup kaggle-test bench clean

run: $(VENV)/run.stamp
	$(BIN)/python run_all.py $(if $(JOBS),--jobs $(JOBS)) $(ARGS)

test: lint
	$(BIN)/python -m pytest $(SPREAD)

quick: lint
	$(BIN)/python -m pytest $(SPREAD) -m "not slow"

lint: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

setup: $(VENV)/test.stamp

kaggle-test: $(VENV)/test.stamp
	KAGGLE_VENV=.venv-kaggle KAGGLE_PYTHON=$(KAGGLE_PYTHON) $(BIN)/python -m pytest tests/test_kaggle.py -k rebuilt_machine

bench: $(BENCH)/bench.stamp
	$(BENCH)/bin/python benchmarks/run_all.py $(ARGS)

clean:
	rm -rf $(VENV) $(BENCH) .venv-kaggle*

# The stamp is touched last: an installation that was cut off is taken up again.
$(VENV)/run.stamp: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(None if (3, 11) <= sys.version_info[:2] <= (3, 13) else \
		"Python 3.11, 3.12 or 3.13 is needed and $(PYTHON) is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12")'
	@echo "Setting up $(VENV): about 2 GB, some minutes, once."
	@$(PYTHON) -m venv $(VENV) || { echo "error: no virtual environment; on Debian and Ubuntu: apt install python3-venv"; exit 1; }
	@$(PIP) --requirement requirements.txt
	@touch $@

$(VENV)/test.stamp: $(VENV)/run.stamp requirements-test.txt
	@$(PIP) --requirement requirements-test.txt
	@touch $@

$(BENCH)/bench.stamp: requirements.txt benchmarks/requirements.txt benchmarks/requirements-alone.txt
	@echo "Setting up $(BENCH): about 4 GB, some minutes, once."
	@$(PYTHON) -m venv $(BENCH)
	@$(BENCH)/bin/python $(INSTALL) --requirement requirements.txt --requirement benchmarks/requirements.txt
	@$(BENCH)/bin/python $(INSTALL) --no-deps --requirement benchmarks/requirements-alone.txt
	@touch $@
