#!/bin/sh
# Runs the client suites against the binary: the `openai` package from PyPI and the hostile and durability tables.
# Arguments go to pytest, e.g. `tests/clients/run.sh -k tools`.
set -eu
cd "$(dirname "$0")/../.."
if [ ! -x .venv/bin/python ] || ! cmp -s tests/clients/requirements.txt .venv/clients.stamp; then
    echo "setting up .venv for the client suites" >&2
    python3 -m venv .venv
    .venv/bin/python -m pip install --quiet --disable-pip-version-check -r tests/clients/requirements.txt
    cp tests/clients/requirements.txt .venv/clients.stamp
fi
export PYTHONDONTWRITEBYTECODE=1
exec .venv/bin/python -m pytest -c tests/clients/pytest.ini --rootdir tests/clients tests/clients "$@"
