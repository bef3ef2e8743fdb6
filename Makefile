# `make` alone lists what there is.

PYTHON ?= python3
ARGS ?=
# The tests compute in two thirds of their time: three processes keep two cores busy.
WORKERS ?= 3
# What failed (code 1) while other tests ran is run again, alone; of the proofs too, as other packages may answer late.
# A run that was interrupted lacks tests: it fails. Arguments: an environment, the chosen tests, options of the first run.
AGAIN := --last-failed --last-failed-no-failures none
tested = $(1)/bin/python -m pytest $(3) $(2) $(ARGS) || \
	{ [ $$? -eq 1 ] && $(1)/bin/python -m pytest $(AGAIN) $(2) $(ARGS); }
WITH_MPICH := not (openmpi_only or mpich_proof or proof)
PROOFS_WITH_MPICH := (mpich_proof or proof) and not openmpi_only
MINUTES ?= 5
SEED ?= 1

# The lowest and the highest supported Python that are found; looked for only when they are needed.
PYTHONS ?= $(shell .ci/pythons)

OPENMPI := .venv
MPICH := .venv-mpich
BENCH := .venv-bench
PIP := -m pip --disable-pip-version-check --quiet --quiet

.PHONY: help demo test components test-openmpi test-mpich proofs proofs-mpich test-pythons corpus pictures docs site coverage bench bench-scale soak soak-mpich lint clean

help:  ## Say what there is to make
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-14s%s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(OPENMPI)/.installed  ## Start a cluster of 4 engines, show what it can do, stop it
	@MPIDIRECT_DIR=$$(mktemp -d) && export MPIDIRECT_DIR && \
	trap '$(OPENMPI)/bin/mpidirect stop; rm -rf "$$MPIDIRECT_DIR"' EXIT && trap 'exit 130' INT TERM HUP && \
	echo 'Starting: mpidirect start -n 4' && \
	$(OPENMPI)/bin/mpidirect start -n 4 && \
	$(OPENMPI)/bin/python docs/tour.py
	@printf '%s\n' '' 'To go on by yourself, in the same environment:' '' \
	'  source $(OPENMPI)/bin/activate' \
	'  mpidirect start -n 4' \
	'  ipython                             # or python, a script, a notebook' \
	'  >>> from mpidirect import Client' \
	'  >>> rc = Client()' \
	'  >>> rc[:].apply_sync(lambda: f"{rank} of {size}")' \
	'  mpidirect stop                      # when you are done' '' \
	'The tutorial: docs/tutorial.md'

test: components test-mpich test-openmpi  ## Run the tests, against real clusters (ARGS='-k push' for pytest, in WORKERS=3 processes)

components:
	@.ci/components

test-openmpi: $(OPENMPI)/.for-tests  ## Run the tests with Open MPI
	$(call tested,$(OPENMPI),-m "not proof",-n $(WORKERS))

test-mpich: $(MPICH)/.for-tests  ## Run with MPICH what depends on the MPI
	$(call tested,$(MPICH),-m "$(WITH_MPICH)",-n $(WORKERS))

proofs: components test-pythons proofs-mpich $(OPENMPI)/.for-proofs  ## Run the suites of other projects, libraries that use MPI, notebooks in a browser, the corpus
	$(call tested,$(OPENMPI),-m proof tests/proofs tests/system tests/controller tests/launchers)

proofs-mpich: $(MPICH)/.for-tests  ## Run with MPICH what make test runs with Open MPI alone
	$(call tested,$(MPICH),-m "$(PROOFS_WITH_MPICH)",-n $(WORKERS))

test-pythons:  ## Run what depends on the Python with the lowest and the highest that are here
	@for python in $(PYTHONS); do \
	    $(MAKE) --no-print-directory corpus PYTHON="$$python" || exit 1; \
	done

corpus:  ## Run the programs of tests/corpus with another Python (PYTHON=python3.13)
	@version=$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])') && \
	$(MAKE) --no-print-directory .venv-$$version/.for-tests && \
	echo "The programs of tests/corpus, with Python $$version ($(PYTHON))" && \
	{ .venv-$$version/bin/python -m pytest tests/proofs/test_corpus.py $(ARGS) || [ $$? -eq 5 ]; }  # 5: ARGS chose none

pictures: components $(OPENMPI)/.for-proofs  ## Make the pictures of the documentation (ARGS='session top')
	$(OPENMPI)/bin/python -m docs.pictures $(ARGS)

coverage: $(OPENMPI)/.for-coverage  ## Measure which lines run, also in engines and controller (ARGS=tests/engine)
	rm -f .coverage .coverage.*
	$(OPENMPI)/bin/coverage run -m pytest -m "not proof" $(ARGS) || true
	$(OPENMPI)/bin/coverage combine --quiet
	$(OPENMPI)/bin/coverage report --sort=cover
	$(OPENMPI)/bin/coverage html --quiet
	@echo 'By lines: htmlcov/index.html'

bench: $(BENCH)/.for-bench  ## Measure beside ipyparallel and bare MPI, half an hour (ARGS='--engines 4')
	$(BENCH)/bin/python -m benchmarks --json benchmarks.json --plot benchmarks.png $(ARGS)

bench-scale: $(BENCH)/.for-bench  ## Measure the controller with up to 16,384 simulated engines
	$(BENCH)/bin/python -m benchmarks.scale $(ARGS)

soak: $(OPENMPI)/.for-tests  ## Everything at once, with faults, for long (MINUTES=5 SEED=1)
	$(OPENMPI)/bin/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

soak-mpich: $(MPICH)/.for-tests  ## The same with MPICH (ARGS='--histories 3': a walk through every history of three events)
	$(MPICH)/bin/python -m tests.soak --minutes $(MINUTES) --seed $(SEED) $(ARGS)

docs: components $(OPENMPI)/.for-tests  ## Run the examples of all pages on clusters, and build the site
	$(OPENMPI)/bin/python -m pytest -m page tests/documents tests/launchers tests/cli tests/proofs $(ARGS)
	@$(MAKE) --no-print-directory site

site: $(OPENMPI)/.for-site  ## Build the site of the documentation: build/docs/index.html
	$(OPENMPI)/bin/python -m sphinx -q -b html -W --keep-going -n -d build/doctrees docs build/docs
	@echo 'The site: build/docs/index.html'

lint: $(OPENMPI)/.for-lint  ## Check style, types and layers
	$(OPENMPI)/bin/ruff check .
	$(OPENMPI)/bin/ruff format --check .
	$(OPENMPI)/bin/mypy
	$(OPENMPI)/bin/python -m tests.layers

clean:  ## Remove the virtual environments and all that was built
	rm -rf $(OPENMPI) $(MPICH) $(BENCH) .venv-3.* .venv-python* .gridengine* build dist *.egg-info .pytest_cache .mypy_cache .coverage .coverage.* htmlcov .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# Virtual environments: made once, and installed into again when the dependencies may have changed.

# Tests import a tenth of what their dependencies bring: the rest needs no compilation.
$(OPENMPI)/.for-tests $(MPICH)/.for-tests .venv-3.%/.for-tests: COMPILE := --no-compile

$(OPENMPI)/.installed: EXTRAS := openmpi,ipython
$(OPENMPI)/.for-tests: EXTRAS := openmpi,test
$(OPENMPI)/.for-proofs: EXTRAS := openmpi,test,browser
$(OPENMPI)/.for-lint: EXTRAS := openmpi,test,lint
$(OPENMPI)/.for-site: EXTRAS := openmpi,docs
$(OPENMPI)/.for-coverage: EXTRAS := openmpi,test,coverage
$(MPICH)/.for-tests: EXTRAS := mpich,test
.venv-3.%/.for-tests: EXTRAS := openmpi,test
$(BENCH)/.for-bench: EXTRAS := openmpi,bench

$(OPENMPI)/.installed $(OPENMPI)/.for-tests $(OPENMPI)/.for-proofs $(OPENMPI)/.for-lint $(OPENMPI)/.for-coverage $(OPENMPI)/.for-site: $(OPENMPI)/.made
$(MPICH)/.for-tests: $(MPICH)/.made
$(BENCH)/.for-bench: $(BENCH)/.made

$(OPENMPI)/.installed $(OPENMPI)/.for-tests $(OPENMPI)/.for-proofs $(OPENMPI)/.for-lint $(OPENMPI)/.for-coverage \
$(OPENMPI)/.for-site $(MPICH)/.for-tests $(BENCH)/.for-bench: setup.cfg pyproject.toml
	@echo 'Installing into $(@D): mpidirect[$(EXTRAS)]'
	@$(@D)/bin/python $(PIP) install $(COMPILE) --editable '.[$(EXTRAS)]'
	@touch $@

.venv-3.%/.for-tests: .venv-3.%/.made setup.cfg pyproject.toml
	@echo 'Installing into $(@D): mpidirect[$(EXTRAS)]'
	@$(@D)/bin/python $(PIP) install $(COMPILE) --editable '.[$(EXTRAS)]'
	@touch $@

.PRECIOUS: %/.made
%/.made:
	@echo 'Making a virtual environment: $(@D)'
	@$(PYTHON) -m venv $(@D)
	@touch $@
