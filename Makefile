# rds-encrypt: `make` alone lists the verbs.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules --no-print-directory

PYTHON ?= python3
# What the functions are built for and deployed as. Here: what this machine can run.
# For an AWS account: make deploy, which takes the template's default.
Architecture ?= $(if $(filter aarch64 arm64,$(shell uname -m)),arm64,x86_64)

export SAM_CLI_TELEMETRY := 0

.PHONY: help
help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: setup
setup: ## install the pinned tools and the local cloud into .local/ (the other verbs do it themselves)
	@command -v $(PYTHON) >/dev/null || { echo "Python 3.10 or newer is needed and '$(PYTHON)' is not on the PATH: install python3, or name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) tests/local/setup.py

.PHONY: build
build: setup ## build the functions' bootstraps with SAM into .aws-sam/build
	@scripts/build $(Architecture)

.PHONY: cloud
cloud: setup ## run a local cloud in the foreground; Ctrl-C ends it
	@$(PYTHON) tests/local/cloud.py run
