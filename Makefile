.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON := .venv/bin/python
PORT = 7071
UV_COMPILE := UV_SYSTEM_CERTS=1 .venv/bin/uv pip compile --quiet --generate-hashes --universal --no-header --python-version 3.13

.PHONY: help setup serve emulator demo simulate provision test coverage check infra-check package sbom audit release-check fuzz mutation bench scale chaos docs lock

help: ## Say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Find or fetch Python 3.13 and uv, make .venv from the locked requirements
	@sh scripts/setup.sh

serve: setup ## Serve the app on http://localhost:7071 (PORT=), from the embedded store unless COSMOS_DB_ENDPOINT is set
	@$(PYTHON) -m devhost --port $(PORT)

emulator: setup ## Run an emulator of Cosmos DB on https://127.0.0.1:8081, in memory, and print its settings
	@sh scripts/setup.sh tests
	@$(PYTHON) -m tests.cosmos_emulator

demo: setup ## Drive the app over HTTP: eight attacks and their alerts, an organization without one, trail and report
	@$(PYTHON) -m devhost.demo

simulate: setup ## Weeks of companies at work and eight kinds of attack, on a store of its own; prints the ground truth
	@$(PYTHON) -m devhost.simulate

provision: setup ## Create or update database and containers in the account of COSMOS_DB_ENDPOINT
	@$(PYTHON) -m shared.storage.provision

test: setup ## Run every check and test, as CI does
	@sh scripts/setup.sh tests
	@sh scripts/check.sh
	@# Tests wait for servers half of the time: three workers for two processors.
	@PYTEST_XDIST_AUTO_NUM_WORKERS=$$((($$(getconf _NPROCESSORS_ONLN) * 3 + 1) / 2)) $(PYTHON) -m pytest -n auto --dist worksteal

coverage: setup ## Run the tests and say which lines and branches of shared/ and functions/ they leave out; fails below 95 %
	@sh scripts/setup.sh tests
	@mkdir -p .tools
	@tests=0; $(PYTHON) -m pytest -n auto --dist worksteal --cov --cov-report=term --cov-report=json:.tools/coverage.json || tests=$$?; \
		$(PYTHON) -m tools.gaps .tools/coverage.json && exit $$tests

check: setup ## Run the checks alone: format, lint, types, layers
	@sh scripts/check.sh

infra-check: setup ## Check what is in infra/, without Azure: templates, queries, alerts, roles
	@sh scripts/infra_check.sh

package: setup ## Build the package that Azure takes, dist/package.zip, the same bytes from the same files
	@$(PYTHON) -m tools.package

sbom: setup ## Write the software bill of materials of what Azure installs, dist/sbom.json (CycloneDX)
	@sh scripts/supply_chain.sh sbom

audit: setup ## Ask for known vulnerabilities of what is locked; needs the package index
	@sh scripts/supply_chain.sh audit

release-check: setup ## Look whether this can be released: version, changelog, tree, pages, reports, package, licences, locks
	@$(PYTHON) -m tools.release

fuzz: setup ## Any bytes for every reader of bytes, led by coverage, and walks over the API: FUZZ_SECONDS (30) and some twenty to start for each of 19 readers
	@sh scripts/setup.sh tests
	@sh scripts/fuzz.sh $(FUZZ_SECONDS)

mutation: setup ## Small changes to the code, and whether a test notices each (docs/mutation.md): ONLY="ledger privacy"
	@sh scripts/mutation.sh $(ONLY)

bench: setup ## Measure (ONLY="ledger search": some), keep the figures in bench/history.jsonl and docs/benchmarks.md
	@sh scripts/setup.sh tests
	@$(PYTHON) -m bench $(ONLY)

scale: setup ## Whether costs grow with the trail: five million events of fifty tenants; an hour or more, 35 GB of disk
	@sh scripts/setup.sh tests
	@$(PYTHON) -m bench scale

chaos: setup ## Clients at work on the real app, faults of every kind, and what was lost by them (docs/chaos.md)
	@sh scripts/setup.sh tests
	@$(PYTHON) -m tests.chaos

docs: setup ## Write the generated pages of docs/ and files of infra/ again
	@$(PYTHON) -m tools.docs
	@$(PYTHON) -m tools.infra

lock: setup ## Lock requirements.txt and requirements-dev.txt again from pyproject.toml
	@$(UV_COMPILE) pyproject.toml -o requirements.txt >/dev/null
	@$(UV_COMPILE) pyproject.toml --group dev -o requirements-dev.txt >/dev/null
	@$(UV_COMPILE) tests/infra/requirements.in -o tests/infra/requirements.txt >/dev/null
	@$(UV_COMPILE) tests/infra/supply.in -o tests/infra/supply.txt >/dev/null
	@$(UV_COMPILE) tests/fuzz/requirements.in -o tests/fuzz/requirements.txt >/dev/null
	@$(UV_COMPILE) tests/mutation/requirements.in -o tests/mutation/requirements.txt >/dev/null
