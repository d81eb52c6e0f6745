#!/usr/bin/env bash
# Makes .venv what pyproject.toml says. Presumes Python >= 3.11 with pip, and nothing else.
# A second call finds the stamp of the first one and is done.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

readonly stamp_file=.venv/.set-up
readonly oldest_uv=0.9.8 # the first that knows exclude-dependencies

say() { echo "setup: $*" >&2; }
fail() {
    say "$*"
    exit 1
}

# A moved checkout needs a new environment, so the stamp holds the place as well.
stamp() { echo "$PWD $(cksum <pyproject.toml)"; }

find_python() {
    local candidate
    for candidate in "${PYTHON:-python3}" python3 python3.14 python3.13 python3.12 python3.11 python; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
            # The interpreter itself, where the candidate is that of an active environment.
            "$candidate" -c 'import sys; print(sys._base_executable)'
            return
        fi
    done
    fail "no Python >= 3.11 found ($(python3 --version 2>&1)); install one, or name it: PYTHON=/path/to/python3.12 $0"
}

is_new_enough() {
    local version
    version=$("$1" --version 2>/dev/null) || return 1
    version=$(echo "$version" | cut -d ' ' -f 2)
    [ "$(printf '%s\n' "$oldest_uv" "$version" | sort -V | head -n 1)" = "$oldest_uv" ]
}

# Uses the uv that is there, or puts one into .uv: pip's --target needs neither venv nor
# permission to change an externally managed Python.
find_uv() {
    local candidate
    for candidate in uv .uv/bin/uv; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return
        fi
    done
    say "installing uv into .uv"
    "$1" -m pip install -qq --upgrade --target .uv "uv>=$oldest_uv" >&2 ||
        fail "uv cannot be installed; check that $1 has pip and that pip reaches an index"
    echo .uv/bin/uv
}

extras() {
    if command -v "${CC:-cc}" >/dev/null; then
        echo --all-extras
    else
        say "no C compiler found: leaving out learn2learn, so meta-train --stages init will not run"
        echo --all-extras --no-extra meta
    fi
}

[ "$(cat "$stamp_file" 2>/dev/null)" = "$(stamp)" ] && exit 0

started=$SECONDS
python=$(find_python)
uv=$(find_uv "$python")
say "installing into .venv with $("$uv" --version) and $("$python" --version); the first time this takes minutes"
# shellcheck disable=SC2046  # the extras are words
UV_PROJECT_ENVIRONMENT=.venv "$uv" sync --quiet --python "$python" --no-python-downloads --all-groups $(extras) ||
    fail "the environment cannot be installed; see the message of uv above"
stamp >"$stamp_file"
say "done in $((SECONDS - started)) s"
