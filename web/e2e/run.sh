#!/usr/bin/env bash
# The journeys of the console in Chromium, on the true executable. Arguments go to Playwright.
# FILBERT_BIN, FILBERT_MODELS and CHROMIUM_PATH name other files; SHOTS=FOLDER keeps pictures of every page.
set -euo pipefail
cd "$(dirname "$0")"
if ! cmp -s package-lock.json node_modules/.filbert-lock; then
  PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD=1 npm ci --no-audit --no-fund --loglevel=error
  cp package-lock.json node_modules/.filbert-lock
fi
if [ -z "${CHROMIUM_PATH:-}" ]; then
  CHROMIUM_PATH=$(command -v chromium || command -v chromium-browser || command -v google-chrome || true)
  export CHROMIUM_PATH
fi
exec npx playwright test "$@"
