# Every verb of the project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help set-up check test

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

set-up: ## install what a fresh Debian or Ubuntu lacks
	@.ci/set-up

check: set-up ## compile everything, warnings are errors
	RUSTFLAGS= cargo clippy --release --workspace --all-targets -- -D warnings

test: set-up ## run every test
	@.ci/test
