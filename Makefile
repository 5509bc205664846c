# `make help` lists all targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# There are more workers than cores, because many tests wait for a process or a clock.
WORKERS ?= 3
PYTEST := $(BIN)/python -m pytest
# Each file runs in one worker, in the order of conftest.py.
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
DEMO_FLAGS ?=
RUN_FLAGS ?=
PYTEST_FLAGS ?=
QUICK_FLAGS ?=
LOCK_FLAGS ?=
WEB_SOURCES := 'monitor/**/*.css' 'monitor/**/*.js'
PACKAGES := $(wildcard packages/*/pyproject.toml)
TEMPLATES := $(wildcard monitor/web/templates monitor/features/*/templates packages/*/*/templates)

.PHONY: help setup lock test-lowest servers run demo test test-quick soak lint format type audit docs site catalogues baseline-fixture recording recording-check bench bench-forecast bench-warning train-pretrained bench-imagery bench-networks bench-recipes train-demo pictures screenshots cut release release-check

help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}'

$(STAMP): pyproject.toml $(PACKAGES) $(wildcard locks/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	locks/install.sh $(BIN)/python dev
	@touch $@

setup: $(STAMP) ## Create .venv with everything for running and developing (other targets do this when needed)

lock: ## Update the lock files from pyproject.toml (needs uv; LOCK_FLAGS=--upgrade selects newer versions)
	locks/write.sh $(LOCK_FLAGS)

test-quick: setup ## Run the quick tests of the core: no server, browser, measured data or PyTorch (QUICK_FLAGS=--features adds the features)
	@tests/quick.sh $(QUICK_FLAGS) $(PYTEST_FLAGS)

test-lowest: ## Run the tests with the lowest versions that pyproject.toml allows, in build/lowest (needs uv; no servers, no PyTorch)
	locks/lowest.sh $(PYTEST_FLAGS)

servers: ## Install missing programs that the tests start: Mosquitto, PostgreSQL, Chromium, sshd (Debian packages)
	@tests/setup-servers.sh

run: setup ## Run the service with configs/slopeward.toml (RUN_FLAGS="--config FILE")
	$(BIN)/slopeward run $(RUN_FLAGS)

demo: setup ## Run the service with a simulated slope that fails (DEMO_FLAGS="--once --json" ends by itself)
	@tests/setup-servers.sh mosquitto || echo "Mosquitto could not be installed; the demo uses a broker that loses its queue at a restart" >&2
	@$(BIN)/slopeward demo $(DEMO_FLAGS)

# Without bytecode files, each of several hundred processes would compile everything that it imports.
test soak: export PYTHONDONTWRITEBYTECODE =
test: setup servers lint type ## Run everything except the soak tests: lint, types, import contracts, all tests on SQLite and PostgreSQL
	$(PYTEST) $(PARALLEL) $(PYTEST_FLAGS)

soak: setup servers ## Run the soak tests, all tests in random order with random examples, and the long benchmarks with limits (hours)
	$(PYTEST) -m soak --hypothesis-profile random --timeout 7200 $(PYTEST_FLAGS)
	$(PYTEST) $(PARALLEL) -p randomly --hypothesis-profile random $(PYTEST_FLAGS)
	$(PYTEST) -q -s --timeout 7200 $(foreach name,memory hostile calculated,tests/bench/service/bench_$(name).py)
	$(BIN)/python -m tests.bench.service.bench_views --rows 5000000
	$(BIN)/python -m tests.bench.service.bench_growth

lint: setup ## Lint and check formatting (Python, scripts, styles, templates), import contracts and declared dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/oxfmt --check $(WEB_SOURCES)
	$(BIN)/djangofmt --check $(TEMPLATES)
	$(BIN)/lint-imports
	$(BIN)/deptry .
	set -e; for file in $(PACKAGES); do (cd $$(dirname $$file) && $(CURDIR)/$(BIN)/deptry .); done

format: setup ## Format Python, scripts, styles and templates in place
	$(BIN)/ruff format .
	$(BIN)/oxfmt $(WEB_SOURCES)
	$(BIN)/djangofmt $(TEMPLATES)

type: setup ## Run mypy in strict mode
	$(BIN)/mypy

TOOLS := build/tools
$(TOOLS)/.installed: locks/tools.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r locks/tools.txt
	@touch $@

audit: setup $(TOOLS)/.installed ## Check dependencies for conflicts and known vulnerabilities, and the code with security linters
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/ruff check --select S monitor forecasting detection packages/*/slopeward_*
	$(TOOLS)/bin/bandit -q -r monitor forecasting detection packages/*/slopeward_* -c pyproject.toml
	locks/audit.sh $(TOOLS)/bin/python

cut: ## Turn the unreleased changes into a release: make cut VERSION=1.0.0 sets the version and the date
	locks/cut.sh $(VERSION)

release: setup site $(TOOLS)/.installed ## Build dist/: packages, sources, documentation, software bill of materials, checksums (RELEASE_KEY=FILE signs them)
	locks/release.sh $(BIN)/python $(TOOLS)/bin/cyclonedx-py

release-check: setup ## Install dist/ with Python 3.11 to 3.13, run the tutorial and the demo (SLOPEWARD_RELEASE_EXTRAS="postgresql,demo")
	SLOPEWARD_RELEASE=dist $(BIN)/python -m pytest -q tests/end_to_end/test_release_installs.py $(PYTEST_FLAGS)

catalogues: setup ## Extract all translatable texts into the .po files and report how many are translated; new texts appear in English
	@mkdir -p build
	PYTHONPATH=. $(BIN)/pybabel -q extract -F babel.cfg -k tr -k N_ -k Template:1c,2 --no-location --sort-output --project=Slopeward --version=0 --msgid-bugs-address=- -o build/messages.pot monitor forecasting detection packages/*/slopeward_*
	for code in it zh es; do PYTHONPATH=. $(BIN)/pybabel -q update -i build/messages.pot --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date -w 0 -l $$code -o monitor/text/catalogues/$$code.po; done
	$(BIN)/python -m tests.translation_coverage

baseline-fixture: setup ## Regenerate the first migration and the database that upgrade tests start from; refused after v1.0.0
	$(BIN)/python -m tests.data.baseline.write

SITE := build/docs-tools
$(SITE)/.installed: locks/docs.txt
	test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r locks/docs.txt
	@touch $@

site: setup $(SITE)/.installed ## Build the documentation site in build/site; checks every link and anchor
	PYTHONPATH=. $(BIN)/python -m monitor.features.help.reference build/reference
	$(BIN)/python -m packages.lab.evaluation.write_pages
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict --quiet

docs: setup site ## Build the documentation and test it: links, examples, docstrings, completeness of the reference
	$(BIN)/python -m pytest -q tests/contract/test_doctests.py tests/architecture packages/lab/tests/evaluation

pictures: setup servers ## Write the screenshots of single features to docs/images (PICTURES="duty map" selects some); look at each before you commit it
	PYTHONPATH=. $(BIN)/python -m docs.pictures.documentation $(PICTURES)

screenshots: setup servers ## Write screenshots of all pages in five states to build/screenshots (SCREENSHOTS="red --images" selects; --images writes docs/images)
	PYTHONPATH=. $(BIN)/python -m docs.pictures.screenshots $(SCREENSHOTS)

recording: setup ## Store the current levels, alerts, evidence, forecasts and image outlines in tests/recording/kept (needs SLOPEWARD_DATA)
	$(BIN)/python -m tests.recording.record

recording-check: setup ## Compare the current results with tests/recording/kept and print the first differences (needs SLOPEWARD_DATA)
	$(BIN)/python -m tests.recording.record --check

bench: setup servers ## Measure the performance of the service beside references, in one table (20 minutes; BENCH_FLAGS="--only views" selects, --store stores)
	$(BIN)/python -m tests.bench $(BENCH_FLAGS)

bench-forecast: setup ## Compare forecasts with those of other methods by kind of motion (needs SLOPEWARD_DATA; 25 minutes; BENCH_FLAGS=--quick)
	$(BIN)/python -m packages.lab.benchmarks.forecasting.bench_acceptance $(BENCH_FLAGS)
	$(BIN)/python -m packages.lab.benchmarks.forecasting.bench_replay_year

bench-warning: setup ## Measure lead times and false days of a new site file beside a fixed bound (needs SLOPEWARD_DATA; 10 minutes; BENCH_FLAGS=--quick)
	$(BIN)/python -m packages.lab.benchmarks.warning.bench_warning $(BENCH_FLAGS)

train-pretrained: setup ## Train the shipped forecast weights for short records again (needs SLOPEWARD_DATA; minutes)
	$(BIN)/python -m packages.lab.benchmarks.forecasting.pretrained.train_pretrained

bench-imagery: setup ## Compare the default weights for images with logistic regression and their required scores (needs SLOPEWARD_DATA; 10 minutes)
	$(BIN)/python -m packages.lab.benchmarks.imagery.bench_acceptance --store $(BENCH_FLAGS)

bench-networks: setup ## Compare image networks with each other and with simple methods (needs SLOPEWARD_DATA; hours, can be resumed)
	$(BIN)/python -m packages.lab.benchmarks.imagery.bench_imagery $(BENCH_FLAGS)

bench-recipes: setup ## Compare the shipped training recipes with their required scores (needs SLOPEWARD_DATA; trains what is not in build/)
	$(BIN)/python -m packages.lab.benchmarks.imagery.bench_recipes $(BENCH_FLAGS)

train-demo: setup ## Train one U-Net on Landslide4Sense images and compare it with simple methods; uses synthetic images without SLOPEWARD_DATA
	@mkdir -p build/train-demo
	$(BIN)/slopeward scenes train --recipe $(if $(SLOPEWARD_DATA),landslide4sense --data $(SLOPEWARD_DATA),generated) --out build/train-demo/weights.safetensors
	$(BIN)/slopeward scenes score --weights build/train-demo/weights.safetensors $(if $(SLOPEWARD_DATA),--data $(SLOPEWARD_DATA)) --with simple
