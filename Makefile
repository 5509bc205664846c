# Every target explains itself: make help
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# many tests wait for a process or a clock, 35 minutes in all: half of the workers begin with those, the others compute
WORKERS ?= 6
DEMO_FLAGS ?=
RUN_FLAGS ?=
PYTEST_FLAGS ?=
QUICK_FLAGS ?=
LOCK_FLAGS ?=

.PHONY: help setup lock test-lowest servers run demo test test-quick soak lint type audit docs site catalogues baseline-fixture recording recording-check bench bench-forecast train-pretrained bench-imagery bench-recipes train-demo pictures cut release release-check

help: ## Show this list
	@grep -hE '^[a-z-]+:.*?## ' $(MAKEFILE_LIST) | awk -F ':.*?## ' '{printf "  \033[36m%-16s\033[0m %s\n", $$1, $$2}'

$(STAMP): pyproject.toml $(wildcard locks/*.txt)
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; set PYTHON=python3.12" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	locks/install.sh $(BIN)/python dev
	@touch $@

setup: $(STAMP) ## Make .venv with everything for running and developing (done by the other targets)

lock: ## Write the lock files anew from pyproject.toml (needs uv; LOCK_FLAGS=--upgrade takes newer versions)
	locks/write.sh $(LOCK_FLAGS)

test-quick: setup ## What to run while you work: the core without server, browser, measured data and PyTorch (QUICK_FLAGS=--extensions adds those)
	@tests/quick.sh $(QUICK_FLAGS) $(PYTEST_FLAGS)

test-lowest: ## The lowest versions that pyproject.toml allows, in build/lowest: the tests that need no server and no PyTorch (needs uv)
	locks/lowest.sh $(PYTEST_FLAGS)

servers: ## Install what tests need beside Python, where it is missing: Mosquitto, PostgreSQL, Chromium, sshd (Debian packages)
	@tests/setup-servers.sh

run: setup ## Run the service with configs/slopeward.toml (RUN_FLAGS="--config F")
	$(BIN)/slopeward run $(RUN_FLAGS)

demo: setup ## Show everything in three minutes (DEMO_FLAGS="--once --json" ends by itself)
	@tests/setup-servers.sh mosquitto || echo "Mosquitto could not be installed; the demonstration goes on with a broker that forgets" >&2
	@$(BIN)/slopeward demo $(DEMO_FLAGS)

# types are looked at while the tests begin: one core would only watch the other
test: setup servers lint ## Run everything: lint, types, import contracts, all tests on SQLite and PostgreSQL
	@$(MAKE) --no-print-directory type & types=$$!; \
	tests/run.sh -n $(WORKERS) --dist worksteal $(PYTEST_FLAGS); tests=$$?; \
	wait $$types || { echo "the types do not hold: make type" >&2; exit 1; }; exit $$tests

soak: setup servers ## The long version of the tests that kill and lock: 50 kills instead of 5; memory over an hour at each rate
	SLOPEWARD_SOAK=1 $(BIN)/python -m pytest --timeout 7200 -m 'slow or server' tests/end_to_end $(PYTEST_FLAGS)
	SLOPEWARD_SOAK=1 $(BIN)/python -m pytest --timeout 7200 tests/unit/forecasting/kinematics/test_failure.py tests/property/test_forecasting_rules.py tests/property/test_alerting_laws.py tests/property/test_warm_decisions.py tests/property/test_two_persons.py tests/contract/test_segmenters.py tests/contract/test_extensions.py tests/integration/store/test_people.py tests/contract/test_forecasters.py tests/contract/test_forecaster_drivers.py tests/browser/test_axe_browser.py tests/browser/test_languages_browser.py tests/property/test_events_lower_nothing.py tests/property/imagery/test_damage.py tests/integration/alerting tests/integration/store/test_upkeep.py tests/integration/scenes tests/integration/forecasting tests/integration/cli tests/integration/reports tests/integration/ingest tests/integration/notify tests/integration/service tests/integration/web tests/extensions $(PYTEST_FLAGS)
	SLOPEWARD_SOAK=1 $(BIN)/python -m pytest --timeout 7200 -m turns tests $(PYTEST_FLAGS)
	$(BIN)/python -m pytest -q -s -p no:randomly --timeout=7200 tests/bench/service/bench_memory.py

lint: setup ## Run ruff, the formatter, the import contracts and the check of declared dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --quiet --check .
	$(BIN)/lint-imports
	$(BIN)/deptry .

type: setup ## mypy, strict, on the three packages
	$(BIN)/mypy

TOOLS := build/tools
$(TOOLS)/.installed: locks/tools.txt
	test -x $(TOOLS)/bin/python || $(PYTHON) -m venv $(TOOLS)
	$(TOOLS)/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r locks/tools.txt
	@touch $@

audit: setup $(TOOLS)/.installed ## Dependencies that do not fit together or have known weaknesses, and code that a security linter would stop
	$(BIN)/python -m pip --disable-pip-version-check check
	$(BIN)/ruff check --select S monitor forecasting detection
	$(TOOLS)/bin/bandit -q -r monitor forecasting detection -c pyproject.toml
	locks/audit.sh $(TOOLS)/bin/python

cut: ## Give the changes since the last release a version and a date: make cut VERSION=1.0.0
	locks/cut.sh $(VERSION)

release: setup site $(TOOLS)/.installed ## dist/: packages, sources, documents, parts lists (CycloneDX), and their hashes, signed with RELEASE_KEY=FILE (an SSH key)
	locks/release.sh $(BIN)/python $(TOOLS)/bin/cyclonedx-py

release-check: setup ## What lies in dist/, installed with [all] for each Python 3.11 to 3.13: the tutorial word by word, and the demo (SLOPEWARD_RELEASE_EXTRAS="postgresql,demo")
	SLOPEWARD_RELEASE=dist $(BIN)/python -m pytest -q -p no:randomly tests/end_to_end/test_release_installs.py $(PYTEST_FLAGS)

catalogues: setup ## Extract all translatable texts into the .po files and report how many are translated; new texts appear in English
	@mkdir -p build
	PYTHONPATH=. $(BIN)/pybabel -q extract -F babel.cfg -k tr -k N_ -k Template:1c,2 --no-location --sort-output --project=Slopeward --version=0 --msgid-bugs-address=- -o build/messages.pot monitor forecasting detection
	for code in it zh es; do PYTHONPATH=. $(BIN)/pybabel -q update -i build/messages.pot --no-fuzzy-matching --ignore-obsolete --ignore-pot-creation-date -w 0 -l $$code -o monitor/domain/language/catalogues/$$code.po; done
	$(BIN)/python -m tests.translation_coverage

baseline-fixture: setup ## The one migration and the database that every upgrade is tested from, anew from the program as it stands; refused once v1.0.0 is tagged
	$(BIN)/python -m tests.data.baseline.write

SITE := build/docs-tools
$(SITE)/.installed: locks/docs.txt
	test -x $(SITE)/bin/python || $(PYTHON) -m venv $(SITE)
	$(SITE)/bin/python -m pip --disable-pip-version-check install -q --require-hashes -r locks/docs.txt
	@touch $@

site: setup $(SITE)/.installed ## build/site: the documents as a site that needs no other host; every link and anchor is checked
	PYTHONPATH=. $(BIN)/python -m monitor.extensions.help.reference build/reference
	$(BIN)/python docs/evaluation.py
	NO_MKDOCS_2_WARNING=1 $(SITE)/bin/mkdocs build --strict --quiet

docs: setup site ## Build the documentation and test it: links, examples, docstrings, completeness of the reference
	$(BIN)/python -m pytest -q -p no:randomly tests/unit/test_doctests.py tests/architecture

pictures: setup servers ## docs/images/*.png of the page made anew (PICTURES="duty map" makes those); look at each before it is kept
	PYTHONPATH=. $(BIN)/python docs/pictures.py $(PICTURES)

recording: setup ## tests/recording/kept: levels, alerts, evidence, forecasts and footprints as they are now (SLOPEWARD_DATA; a minute)
	$(BIN)/python -m tests.recording.record

recording-check: setup ## Whether they are still so: the first differences by record, site, instant and figure (SLOPEWARD_DATA)
	$(BIN)/python -m tests.recording.record --check

bench: setup servers ## Figures of the service, as ratios measured in the same run
	$(BIN)/python -m pytest -q -s -p no:randomly --timeout=1800 $(BENCH_FLAGS) tests/bench/service/bench_ingest.py tests/bench/service/bench_service.py tests/bench/service/bench_page.py tests/bench/service/bench_hostile.py
	$(BIN)/python -m tests.bench.service.bench_ingest_processes
	$(BIN)/python -m tests.bench.service.bench_views --rows 5000000
	$(BIN)/python -m tests.bench.service.bench_points
	$(BIN)/python -m tests.bench.service.bench_points_import
	$(BIN)/python -m tests.bench.forecasting.bench_backtest
	$(BIN)/python -m tests.bench.service.bench_decisions
	$(BIN)/python -m tests.bench.service.bench_derived
	$(BIN)/python -m tests.bench.service.bench_questions
	$(BIN)/python -m tests.bench.anomaly.bench_anomaly_scale
	$(BIN)/python -m tests.bench.imagery.bench_scenes
	$(BIN)/python -m tests.bench.service.bench_views --rows 100000 --network 10000
	$(BIN)/python -m tests.bench.service.bench_views --postgresql --rows 100000 --network 10000

bench-forecast: setup ## Forecast models against the best simple baseline on measured series (SLOPEWARD_DATA)
	$(BIN)/python -m tests.bench.forecasting.bench_forecast $(BENCH_FLAGS)
	$(BIN)/python -m tests.bench.forecasting.bench_forecast_regret
	$(BIN)/python -m tests.bench.forecasting.bench_fast_motion
	$(BIN)/python -m tests.bench.forecasting.bench_last_tenth
	$(BIN)/python -m tests.bench.forecasting.bench_replay_year

train-pretrained: setup ## The weights that are shipped for short records, anew (SLOPEWARD_DATA; minutes)
	$(BIN)/python -m tests.bench.forecasting.pretrained.train_pretrained

bench-imagery: setup ## Scene networks beside each other and beside simple maps (SLOPEWARD_DATA; hours, goes on where it was)
	$(BIN)/python -m tests.bench.imagery.bench_imagery $(BENCH_FLAGS)

bench-recipes: setup ## Shipped recipes against their bars and simple maps (SLOPEWARD_DATA; trains what is not in build/)
	$(BIN)/python -m tests.bench.imagery.bench_recipes $(BENCH_FLAGS)

train-demo: setup ## Train one U-Net on Landslide4Sense pictures (SLOPEWARD_DATA) beside the simple maps; on drawn scenes where they are absent
	@mkdir -p build/train-demo
	$(BIN)/slopeward scenes train --recipe $(if $(SLOPEWARD_DATA),landslide4sense --data $(SLOPEWARD_DATA),generated) --out build/train-demo/weights.safetensors
	$(BIN)/slopeward scenes score --weights build/train-demo/weights.safetensors $(if $(SLOPEWARD_DATA),--data $(SLOPEWARD_DATA)) --with simple
