# Two commands do everything on a fresh machine: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: report test lab lint benchmarks clean help

help:
	@echo "make report      the main job: forget \"dog\" in sketches on the bundled CLIP, write out/report.html"
	@echo "make test        everything CI runs"
	@echo "make lab         open the notebooks in JupyterLab"
	@echo "make benchmarks  speed of the edit, of a strength change, of synthesis"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

report: $(READY)
	$(BIN)/clip-unlearn report --classes dog --domains sketch --strength 1.0 --out out

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: $(READY) lint
	$(BIN)/python -m pytest

benchmarks: $(READY)
	$(BIN)/python -m pytest -o addopts= tests/benchmarks --benchmark-columns=min,median,max,rounds

lab: $(READY)
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache
