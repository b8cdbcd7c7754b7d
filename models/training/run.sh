#!/bin/sh
# npm run train: an environment of its own with the pinned requirements, then the pipeline.
set -eu
cd "$(dirname "$0")"
if ! cmp -s requirements.txt .venv/requirements.txt; then
  python3 -m venv .venv
  .venv/bin/pip install --quiet -r requirements.txt
  cp requirements.txt .venv/requirements.txt
fi
exec .venv/bin/python -u pipeline.py "$@"
