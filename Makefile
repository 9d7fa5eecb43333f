# Two commands do everything on a fresh machine: `make report` and `make test`.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: report test nbval notebooks test-browser lab lint benchmarks clean help

help:
	@echo "make report        the main job: forget \"dog\" in sketches on the bundled CLIP, write out/report.html"
	@echo "make test          everything CI runs, but for the browser"
	@echo "make nbval         only compare the outputs of the notebooks with what they compute now"
	@echo "make notebooks     run the notebooks and keep their outputs in place"
	@echo "make test-browser  move the sliders in JupyterLab; needs a Chromium"
	@echo "make lab           open the notebooks in JupyterLab"
	@echo "make benchmarks    how long everything takes that a person waits for; some minutes"

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -e '.[test]'
	touch $@

$(VENV)/.browser: $(READY)
	$(BIN)/python -m pip install --quiet -e '.[browser]'
	touch $@

report: $(READY)
	$(BIN)/clip-unlearn report --classes dog --domains sketch --strength 1.0 --out out

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

test: $(READY) lint
	$(BIN)/python -m pytest
	$(MAKE) nbval

# Two notebooks at a time, on a cache of their own, so that nothing kept from earlier helps.
nbval: $(READY)
	cache=$$(mktemp -d) && trap 'rm -rf "$$cache"' EXIT && export CLIP_UNLEARN_CACHE="$$cache" HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 && \
	ls notebooks/*.ipynb | xargs -P 2 -n 1 $(BIN)/python -m pytest -q -p no:cacheprovider --nbval --nbval-current-env \
	--nbval-cell-timeout 300 --nbval-sanitize-with tests/nbval.cfg

# After a change that moves a number or a picture: run every notebook and keep what it shows now.
notebooks: $(READY)
	HF_HUB_OFFLINE=1 $(BIN)/jupyter nbconvert --to notebook --execute --inplace --log-level WARN \
	--ExecutePreprocessor.store_widget_state=False --ExecutePreprocessor.record_timing=False notebooks/*.ipynb

test-browser: $(VENV)/.browser
	$(BIN)/python -m pytest -o addopts= -rs -s tests/browser

benchmarks: $(READY)
	$(BIN)/python -m pytest -o addopts= tests/benchmarks --benchmark-columns=min,median,max,rounds

lab: $(READY)
	$(BIN)/jupyter lab notebooks

clean:
	rm -rf $(VENV) out .pytest_cache .ruff_cache
