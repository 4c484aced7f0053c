# Each target makes the environment that it needs.
#
#   make demo           denoise a noisy photograph, fit on sample_data/, compare the objectives; leaves out/
#   make test           lint, types and tests
#   make lint types     what make test begins with
#   make slow           the slow tests
#   make test-oldest    the tests with the oldest versions that pyproject.toml allows
#   make coverage       the tests, with the lines that none of them reaches
#   make docs           the documentation in site/; fails on a link that leads nowhere
#   make package        wheel and sdist in dist/, checked, installed into clean environments, and tried
#   make format         format the code

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OLDEST := .venv-oldest
OUT    := out
QUICK  := not slow and not gpu
# What test, slow, test-oldest and coverage run: all tests, or some, such as TESTS="tests/files tests/test_noise.py".
TESTS ?= tests
# Two files of tests at a time, on two cores.
AT_ONCE := --numprocesses 2 --dist loadfile
# The tests that `make package` runs from the unpacked sdist; PACKAGE_TESTS=tests runs all, for ten minutes.
PACKAGE_TESTS ?= tests/docs tests/files tests/models tests/test_*.py tests/cli/test_app.py

.PHONY: demo environment test lint types slow test-oldest coverage docs package format clean

demo: $(VENV)/.ready
	mkdir -p $(OUT)
	$(BIN)/smdae denoise sample_data/noisy.png -y -o $(OUT)/natural.png --reference sample_data/clean.png
	$(BIN)/smdae denoise sample_data/noisy_color.png -y -o $(OUT)/natural_color.png --reference sample_data/clean_color.png
	$(BIN)/smdae fit sample_data/patches -y -o $(OUT)/model.safetensors --max-time 60s
	$(BIN)/smdae denoise sample_data/noisy.png -y -m $(OUT)/model.safetensors -o $(OUT)/denoised.png --reference sample_data/clean.png
	$(BIN)/smdae denoise sample_data/noisy_color.png -y -m $(OUT)/model.safetensors -o $(OUT)/denoised_color.png --reference sample_data/clean_color.png
	$(BIN)/smdae compare sample_data/patches -y -o $(OUT)/comparison --quick
	@echo "the pictures are in $(OUT)/"

environment: $(VENV)/.ready

test: lint types
	$(BIN)/python -m pytest -m "$(QUICK)" $(AT_ONCE) $(TESTS)

lint: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.ready
	$(BIN)/mypy
	$(BIN)/mypy --strict --follow-imports=silent tests/docs/user.py

slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m "slow" $(TESTS)

test-oldest: $(OLDEST)/.ready
	$(OLDEST)/bin/python -m pytest -m "$(QUICK)" $(AT_ONCE) $(TESTS)

coverage: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[coverage]"
	$(BIN)/python -m pytest -m "$(QUICK)" --cov=smdae --cov-report=term-missing:skip-covered $(TESTS)

docs: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

package: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[package]"
	$(BIN)/python tools/package.py $(PACKAGE_TESTS)

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OLDEST) $(OUT) site dist build

$(VENV)/.ready: pyproject.toml setup.py constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

$(OLDEST)/.ready: pyproject.toml tools/oldest.py
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python tools/oldest.py > $(OLDEST)/oldest.txt
	$(OLDEST)/bin/python -m pip install --quiet --constraint $(OLDEST)/oldest.txt --editable ".[test]"
	touch $@
