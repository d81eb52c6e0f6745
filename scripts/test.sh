#!/usr/bin/env bash
# Runs the tests, setting everything up first; arguments go to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
bash scripts/setup.sh

# One thread per process: two workers with one thread each beat one worker with two.
export OMP_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false HF_HUB_OFFLINE=1
exec .venv/bin/python -m pytest -q --numprocesses 2 --dist loadfile "$@"
