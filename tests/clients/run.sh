#!/bin/sh
# Runs the client suites against the binary: the `openai` package from PyPI and the hostile and durability tables.
# Arguments go to pytest, e.g. `tests/clients/run.sh -k tools`.
set -eu
cd "$(dirname "$0")/../.."
exec .ci/python -m pytest -c tests/clients/pytest.ini --rootdir tests/clients tests/clients "$@"
