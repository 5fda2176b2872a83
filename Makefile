# The two commands are `make demo` and `make test`. Everything lives in one virtual environment, .venv.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
# More than there are cores, since much of what is tested is waiting: for leases, for settling, for servers.
WORKERS ?= $(shell $(PYTHON) -c 'import os; cores = os.cpu_count() or 1; print(cores + min(cores, 4))')

.DEFAULT_GOAL := help
.PHONY: help demo demo-leak test crash-matrix appends simulate mutants chaos soak model usage-year record-plans check fmt bench docs rendered site verified \
        hashes sbom audit-dependencies clean

help: ## say what there is
	@sed -n 's/^\([a-z-]*\):.*## /make \1 — /p' Makefile

demo: $(VENV)/.demo ## the whole job on this machine, in about half a minute
	@$(BIN)/rotator demo

demo-leak: $(VENV)/.demo ## keys leak, are stolen and reported: how long the thieves can use them
	@$(BIN)/rotator demo --leak

test: check ## everything that CI runs
	@$(BIN)/python -m compileall -q rotator tests  # thousands of processes would each compile it anew
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

crash-matrix: $(VENV)/.dev ## SIGKILL at every moment of everything, for an hour or two; the test run tries a slice
	CRASH_STRIDE=$(or $(STRIDE),1) $(BIN)/python -m pytest tests/crash --numprocesses $(WORKERS) --dist worksteal

chaos: $(VENV)/.dev ## daemons on real servers that are killed, frozen, cut and sealed: SEED=1 SECONDS=1800 at most
	$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(or $(SECONDS),1800) --takeovers 1000
	$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(or $(SECONDS),1800) --rotations 2000 --only database
	RESTORES=12 $(BIN)/python -m pytest tests/engine/test_reconcile.py -k one_after_the_other --capture=no

soak: $(VENV)/.dev ## one daemon with 500 credentials for an hour in which its clock goes a week, then 60 stops: memory, ticks
	$(BIN)/python -m tests.soak

model: $(VENV)/.dev ## search every state of the protocol; TRACES=1 prints how each weakened one does harm
	$(BIN)/python -m docs.model $(if $(TRACES),--traces)

record-plans: $(VENV)/.dev ## before a release: what it leaves in the database at each moment, for later ones to go on from
	$(BIN)/python -m tests.plans.record

mutants: $(VENV)/.dev ## take each guard out of the code, and see that a suite notices; some minutes
	$(BIN)/python -m tests.mutants

SEED ?= 1
ROTATIONS ?= 20000
STORE ?= memory
PROFILE ?= everything

simulate: $(VENV)/.dev ## the engine in worlds full of faults, on all cores: SEED=1 ROTATIONS=20000 STORE=memory|sql PROFILE=everything KEEP=folder
	$(BIN)/python -m tests.simulation --seed $(SEED) --rotations $(ROTATIONS) --store $(STORE) --profile $(PROFILE) $(if $(KEEP),--keep $(KEEP))

usage-year: $(VENV)/.dev ## a year of normal use of KEYS=200 keys, made up: how many anomalies are false; some minutes
	$(BIN)/python -m tests.domain.usage_year --keys $(or $(KEYS),200)

check: $(VENV)/.dev ## formatting, types and architecture
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: $(VENV)/.dev ## format, and mend what can be mended
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

appends: $(VENV)/.dev ## eight processes append 10,000 events each to one trail on PostgreSQL; minutes
	APPENDS=10000 $(BIN)/python -m pytest tests/store/test_appends.py --capture=no

bench: $(VENV)/.dev ## measurements, as ratios, and the page about them; a quarter of an hour
	$(BIN)/python -m bench
	$(BIN)/python -m tests.docs.generate

docs: $(VENV)/.dev ## write the generated parts of docs/ anew
	$(BIN)/python -m tests.docs.generate

pictures: $(VENV)/.dev ## take the pictures of screens in docs/pictures/ anew, from what the program prints
	$(BIN)/python -m tests.docs.pictures

site: $(VENV)/.dev ## the documentation as a site: dist/site; a dead link, or a page that the nav does not name, is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build
	@echo dist/site/index.html

rendered: $(VENV)/.dev ## record what kustomize and helm make of deploy/: KUBECTL=kubectl HELM=helm
	$(BIN)/python -m tests.deploy.render $(or $(KUBECTL),kubectl) $(or $(HELM),helm)

verified: $(VENV)/.made ## install for work, every package checked against the hash in requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $(VENV)/.demo $(VENV)/.dev

# For all platforms at once, so that what was hashed here installs anywhere. No address of an index is written down.
HASH := $(BIN)/uv pip compile pyproject.toml --universal --python-version 3.11 --constraint constraints.txt \
        --generate-hashes --no-annotate --no-header --quiet

hashes: $(VENV)/.supply ## write requirements*.lock anew: the pins of constraints.txt with their hashes; asks an index
	$(HASH) --output-file requirements.lock
	$(HASH) --extra dev --extra supply --extra build --output-file requirements-dev.lock

sbom: $(VENV)/.dev ## the bill of materials of what is shipped, as CycloneDX: dist/keyturn.cdx.json
	@mkdir -p dist
	@$(BIN)/cyclonedx-py requirements requirements.lock --pyproject pyproject.toml --output-reproducible --of JSON \
	  --output-file dist/keyturn.cdx.json
	@echo dist/keyturn.cdx.json

audit-dependencies: $(VENV)/.supply ## known holes in what is shipped, by pip-audit; by hand, since it asks an index
	$(BIN)/pip-audit --requirement requirements.lock --require-hashes --disable-pip

clean: ## remove the virtual environment and all caches
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps: a second run installs nothing unless what is to be installed has changed.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or later is needed: make PYTHON=python3.12 …" >&2; exit 1; }
	@echo "Making $(VENV) and installing into it; this happens once."
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.demo: pyproject.toml constraints.txt $(VENV)/.made
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt $(VENV)/.made
	@$(PIP) --editable '.[dev]'
	@touch $(VENV)/.demo $@

$(VENV)/.supply: pyproject.toml constraints.txt $(VENV)/.made
	@$(PIP) --editable '.[supply]'
	@touch $@
