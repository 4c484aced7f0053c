# Two commands do everything; each makes the environment that it needs.
#
#   make demo    denoise a noisy photograph, fit on sample_data/, compare the objectives; leaves out/
#   make test    lint, types and tests

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
OUT    := out

.PHONY: demo test slow format clean

demo: $(VENV)/.ready
	mkdir -p $(OUT)
	$(BIN)/smdae denoise sample_data/noisy.png -y -o $(OUT)/natural.png --reference sample_data/clean.png
	$(BIN)/smdae denoise sample_data/noisy_color.png -y -o $(OUT)/natural_color.png --reference sample_data/clean_color.png
	$(BIN)/smdae fit sample_data/patches -y -o $(OUT)/model.safetensors --max-time 60s
	$(BIN)/smdae denoise sample_data/noisy.png -y -m $(OUT)/model.safetensors -o $(OUT)/denoised.png --reference sample_data/clean.png
	$(BIN)/smdae denoise sample_data/noisy_color.png -y -m $(OUT)/model.safetensors -o $(OUT)/denoised_color.png --reference sample_data/clean_color.png
	$(BIN)/smdae compare sample_data/patches -y -o $(OUT)/comparison --quick
	@echo "the pictures are in $(OUT)/"

test: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "not slow and not gpu"

slow: $(VENV)/.ready
	$(BIN)/python -m pytest -m "slow"

format: $(VENV)/.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf $(VENV) $(OUT)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@
