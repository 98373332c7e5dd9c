# Every verb of the project. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help set-up web build models run check test clients e2e durability bench dist gen doctor

help: ## list the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

set-up: ## install what a fresh Debian or Ubuntu lacks
	@.ci/set-up

web: set-up ## build the browser console into web/dist
	@.ci/web

build: web ## build the executable, target/release/filbert
	cargo build --release

models: build ## bring the models that come with Filbert into models/
	@python3 models/get.py target/release/filbert

run: models ## build everything and serve at http://127.0.0.1:8787
	target/release/filbert serve

check: set-up ## formatting of the console, types, lints; warnings are errors
	cargo clippy --release --workspace --all-targets -- -D warnings
	cd web && npm run check

test: models ## run every test, also on the true executable with the true models
	@.ci/test

clients: models ## the openai package and hostile requests against the true executable
	@tests/clients/run.sh

e2e: models ## the journeys of the browser console in Chromium
	@web/e2e/run.sh

durability: models ## 100 kills under write load; backup under load, restored and compared
	.ci/python tests/clients/durability.py --kills 100

bench: models ## every budget beside what this machine measures
	.ci/python benches/run.py

dist: models ## one file with the console and both models inside: target/dist/filbert
	@.ci/dist

gen: build ## write docs/generated anew
	@.ci/gen

doctor: build ## what is wrong with this machine, the data and the models
	target/release/filbert doctor
