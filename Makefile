# Two commands do everything on a fresh machine: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
# uv installs the same in a fraction of the time, where it is there.
UV     := $(shell command -v uv 2>/dev/null)
PIP    := $(if $(UV),$(UV) pip install --quiet --python $(BIN)/python,$(BIN)/python -m pip install --quiet)

.PHONY: report constraints test nbval notebooks test-browser lab lint benchmarks clean help

help:
	@echo "make report        the main job: forget \"dog\" in sketches on the bundled CLIP, write out/report.html"
	@echo "make test          everything CI runs, but for the browser"
	@echo "make nbval         only compare the outputs of the notebooks with what they compute now"
	@echo "make notebooks     run the notebooks and keep their outputs in place"
	@echo "make test-browser  move the sliders in JupyterLab; needs a Chromium"
	@echo "make lab           open the notebooks in JupyterLab"
	@echo "make constraints   write the versions that are installed to tests/constraints.txt"
	@echo "make benchmarks    how long everything takes that a person waits for; some minutes"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(if $(UV),,$(PIP) --upgrade pip)
	$(PIP) -e '.[test]'
	touch $@

$(VENV)/.browser: $(READY)
	$(PIP) -e '.[browser]'
	touch $@

report: $(READY)
	$(BIN)/clip-unlearn report --classes dog --domains sketch --strength 1.0 --out out

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

# Two workers of one thread each: more threads would wait for one another. The notebooks are run by nbval among the tests.
TWO := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadgroup

test: $(READY) lint
	$(TWO)

nbval: $(READY)
	$(TWO) tests/test_notebooks.py -k shows_what_it_promises

# After a change that moves a number or a picture: run every notebook and keep what it shows now.
notebooks: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN \
	--ExecutePreprocessor.store_widget_state=False --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -o addopts= -rs -s tests/browser

benchmarks: $(READY)
	$(BIN)/python -m pytest -o addopts= tests/benchmarks --benchmark-columns=min,median,max,rounds

# The versions of all that the package needs, as they are installed and tested here.
constraints: $(READY)
	$(BIN)/python tests/helpers/constraints.py > tests/constraints.txt

lab: $(READY)
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache
