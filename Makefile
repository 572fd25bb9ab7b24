# rds-encrypt: `make` alone lists the verbs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
HOST_ARCHITECTURE := $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)
# The template's parameter, for build and deploy alike: the template's default for an account, this
# machine's own for everything that runs here.
Architecture ?= $(if $(filter deploy,$(MAKECMDGOALS)),x86_64,$(HOST_ARCHITECTURE))

TOOLS := .local/tools/bin
CLOUD_PYTHON := .local/cloud/bin/python
export SAM_CLI_TELEMETRY := 0
# `sam validate` wants a region, though it asks AWS nothing here.
LINT_REGION := us-east-1

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-7s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo demo-engine
demo: $(if $(ENGINE),demo-engine) build ## encrypt an instance with real rows in a local cloud, and show it (CUTOVER=rename, WAY=blue-green, online or dms: under its old name; WAY=online ENGINE=mariadb: not PostgreSQL; FLEET=20: many)
	@$(CLOUD_PYTHON) tests/local/$(if $(FLEET),fleet_demo.py --fleet $(FLEET),demo.py $(if $(CUTOVER),--cutover $(CUTOVER)) $(if $(WAY),--way $(WAY)) $(if $(ENGINE),--engine $(ENGINE))) \
		--architecture $(Architecture)

demo-engine: # before the build, which takes its time
	@case "$(ENGINE) $(WAY) $(FLEET)$(CUTOVER)" in "postgres online " | "mariadb online ") ;; \
		*) echo "ENGINE is postgres or mariadb, and goes with WAY=online alone: make demo WAY=online ENGINE=mariadb" >&2; exit 1 ;; esac

.PHONY: test
test: lint build ## everything that CI checks: lint, then unit, contract and end-to-end tests
	@# One more than there are processors, since each waits a good part of its time.
	cargo test --locked --workspace -- --test-threads $$(( $$(getconf _NPROCESSORS_ONLN) + 1 )) --skip faults::
	@# Alone, since their functions give a call up after a second.
	cargo test --locked --workspace --test tests -- --test-threads 1 --nocapture faults::
	@# Two files at a time: each mostly waits.
	cd tests/local && ls test_*.py | LOG_LEVEL=ERROR xargs -n 1 -P 2 ../../$(CLOUD_PYTHON) -m unittest -b

.PHONY: lint
lint: setup ## formatting, clippy, ruff, mypy, licences, the template, the state machines, what the documents have of them
	cargo fmt --all --check
	$(TOOLS)/cfn-lint template.yaml
	$(TOOLS)/sam validate --lint --region $(LINT_REGION) --template template.yaml
	.local/checkov/bin/checkov --config-file .checkov.yaml --file template.yaml
	scripts/asl-validator statemachine/*.asl.json
	$(PYTHON) scripts/state_diagram.py --check docs/machines.md
	$(TOOLS)/python scripts/permissions_table.py --check docs/permissions.md
	$(TOOLS)/ruff check --quiet
	$(TOOLS)/ruff format --check --quiet
	$(TOOLS)/mypy --no-error-summary
	$(PYTHON) -m compileall -q tests/local
	@# The licences and origins of the crates. Their advisories change without us: CI asks for them every week.
	$(TOOLS)/cargo-deny --locked check licenses bans sources
	cargo clippy --locked --workspace --all-targets -- --deny warnings

.PHONY: deploy
deploy: build ## build for x86_64 and deploy to the AWS account of your credentials (ARGS=--guided to be asked)
	$(TOOLS)/sam deploy --parameter-overrides Architecture=$(Architecture) $(ARGS)

.PHONY: build
build: setup ## build the functions with SAM into .aws-sam/build (Architecture=arm64 or x86_64)
	@scripts/build $(Architecture)

.PHONY: plan
plan: setup ## print what encrypting INSTANCE would do, as Markdown; changes nothing
	@[ -n "$(INSTANCE)" ] || { echo "Which instance? make plan INSTANCE=orders" >&2; exit 1; }
	@$(CLOUD_PYTHON) scripts/plan.py "$(INSTANCE)"

.PHONY: status
status: setup ## print how far executions have got: what runs, or EXECUTION, of a fleet each of its instances
	@$(CLOUD_PYTHON) scripts/status.py $(EXECUTION)

.PHONY: faults
faults: build ## every fault at every call (EVERY=n: each n-th of them, FAULT=name: those alone, CLOUDS=n side by side)
	EVERY=$(or $(EVERY),1) cargo test --locked --workspace --test tests -- --nocapture faults::every_fault

.PHONY: soak
soak: build ## random faults in several executions at once, for SECONDS (SEED=n plays them again)
	SOAK_SECONDS=$(or $(SECONDS),60) SOAK_SEED=$(SEED) cargo test --locked --workspace --test tests -- --nocapture faults::random

.PHONY: bench
bench: build ## measure the functions (size, start, first reply, memory) and the waiting, or FLEET=1000 instances
ifdef FLEET
	@$(CLOUD_PYTHON) scripts/fleet_bench.py $(FLEET)
else
	@$(CLOUD_PYTHON) scripts/bench.py
	@cargo run --quiet --locked -p waiting --example waiting
endif

.PHONY: cloud
cloud: setup ## run a local cloud until Ctrl-C; prints where it listens
	@$(PYTHON) tests/local/cloud.py run

.PHONY: docs
docs: setup ## write the drawings and the table of permissions in docs/ anew
	@$(PYTHON) scripts/state_diagram.py docs/machines.md
	@$(TOOLS)/python scripts/permissions_table.py docs/permissions.md

.PHONY: pin
pin: ## raise the pins of the tools to what requirements-*.in allows
	@scripts/pin

.PHONY: setup
setup: ## install the pinned tools into .local/ (the other verbs do it themselves)
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.10 or newer is needed, and $(PYTHON) is not on the PATH: install python3, or name another with make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) tests/local/setup.py
