# Every verb of the project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help set-up run check test clients

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

set-up: ## install what a fresh Debian or Ubuntu lacks
	@.ci/set-up

run: set-up ## build and serve at http://127.0.0.1:8787
	cargo build --release
	target/release/filbert serve

check: set-up ## compile everything, warnings are errors
	RUSTFLAGS= cargo clippy --release --workspace --all-targets -- -D warnings

test: set-up ## run every test
	@.ci/test

clients: ## the openai package and hostile requests against the built binary (needs models in models/)
	@tests/clients/run.sh
