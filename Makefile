# make run      from nothing to the default run's report; CONFIG=… for another config
# make test     from nothing to a finished test suite; on a Slurm of its own, where one can be started
# make update   look for new rows and changed labels in the sources, then do what they need
# make check    what CI checks before the tests: lint, types, layers, schema
# make plans    a dry-run of every workflow's DAG, without data; CONFIGS=… for others
# make minimum  the default run with the oldest versions that pyproject.toml allows
# make bench    every goal of speed and memory beside its peers; half an hour on two cores
# make pins     the hashes of what constraints.txt names, once more
# make clean    remove the environment; results are kept

PYTHON ?= python3
CORES ?= all
CONFIG ?= config.yaml
TORCH_INDEX ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -q
IMG2DATASET := .venv/img2dataset/bin/python
SNAKEMAKE := PATH="$(CURDIR)/$(BIN):$$PATH" snakemake
OPTIONS := --profile profiles/local --cores $(CORES) \
	$(if $(filter-out config.yaml,$(CONFIG)),--configfile $(CONFIG))

.PHONY: run test test-slurm test-rest update check plans minimum bench format pins clean

run: .venv/installed
	$(SNAKEMAKE) $(OPTIONS)

update: .venv/installed
	$(SNAKEMAKE) scan --forcerun \
		$$($(SNAKEMAKE) --list-rules $(OPTIONS) 2>/dev/null | grep '^scan_') $(OPTIONS)
	$(SNAKEMAKE) index $(OPTIONS)
	$(SNAKEMAKE) $(OPTIONS)

test: .venv/installed-test
	@$(MAKE) --no-print-directory -j 2 test-slurm test-rest

# What it prints comes when it has ended: beside it the others print theirs.
test-slurm: .venv/installed-test
	@PATH="$(CURDIR)/$(BIN):$$PATH" pytest tests/slurm -rs >.venv/test-slurm.log 2>&1; \
		status=$$?; cat .venv/test-slurm.log; exit $$status

test-rest: .venv/installed-test
	PATH="$(CURDIR)/$(BIN):$$PATH" pytest -n 2 --dist loadfile --no-loadscope-reorder \
		--ignore tests/slurm

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	PATH="$(CURDIR)/$(BIN):$$PATH" snakefmt --check Snakefile rules workflows/digits/digits.smk
	$(BIN)/mypy
	$(BIN)/mypy --config-file tests/mypy.ini
	$(BIN)/lint-imports
	PATH="$(CURDIR)/$(BIN):$$PATH" snakemake --lint

CONFIGS ?= $(wildcard workflows/*/config.yaml)

plans: .venv/installed
	@for config in $(CONFIGS); do \
		echo "$$config"; \
		$(SNAKEMAKE) -n --quiet all --profile profiles/local --configfile $$config || exit 1; \
	done

minimum: .venv/python
	$(PYTHON) -m venv .venv/minimum
	.venv/minimum/bin/python -m pip --disable-pip-version-check -q install -c envs/minimum.txt -e .
	PATH="$(CURDIR)/.venv/minimum/bin:$$PATH" snakemake --profile profiles/local --cores $(CORES) \
		--config results=.venv/minimum/results

bench: .venv/installed-bench
	PATH="$(CURDIR)/$(BIN):$$PATH" python benchmarks/bench.py $(if $(wildcard $(IMG2DATASET)),--img2dataset $(IMG2DATASET))

format: .venv/installed-test
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	PATH="$(CURDIR)/$(BIN):$$PATH" snakefmt Snakefile rules workflows/digits/digits.smk
	$(BIN)/sampan schema --out config.schema.json

.venv/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; say make PYTHON=python3.12")'
	$(PYTHON) -m venv .venv
	touch $@

.venv/installed: .venv/python pyproject.toml constraints.txt envs/requirements.txt
	@echo "Installing sampan and PyTorch into .venv; that takes some minutes the first time."
	$(PIP) install --require-hashes --no-deps -r envs/requirements.txt
	$(if $(TORCH_INDEX),$(PIP) install --no-deps --index-url $(TORCH_INDEX) -c constraints.txt torch)
	$(PIP) install -c constraints.txt -e .
	touch $@

.venv/installed-test: .venv/installed envs/requirements-test.txt
	$(PIP) install --require-hashes --no-deps -r envs/requirements-test.txt
	$(PIP) install -c constraints.txt -e .[test]
	touch $@

.venv/installed-bench: .venv/installed
	$(PIP) install -c constraints.txt -e .[bench]
	$(PYTHON) -m venv .venv/img2dataset
	-$(IMG2DATASET) -m pip --disable-pip-version-check -q install img2dataset==1.47.0
	touch $@

# torch, and what a wheel of it brings, come from an index of the user's choice and have no hashes.
pins:
	$(PYTHON) -m venv .venv/uv
	.venv/uv/bin/python -m pip --disable-pip-version-check -q install uv
	for set in "" -test; do \
		.venv/uv/bin/uv pip compile -q --generate-hashes --no-header --no-annotate --python-version 3.11 \
			-c constraints.txt --no-emit-package torch $${set:+--extra test} pyproject.toml | \
		awk '/^[a-z]/ {own = !/^(torch|triton|cuda|nvidia)/} own' >envs/requirements$$set.txt || exit 1; \
	done

clean:
	rm -rf .venv
