#!/bin/sh
# Makes .venv what uv.lock says and adds torch, which is not locked: its right build depends on the machine.
# Does nothing when nothing has changed. Needs uv on PATH; `./just` sees to that.
# TIDEMILL_TORCH says which torch: cpu, cuda, any, none; without it what fits this machine (libs/stack/README.md).
set -eu

cd "$(dirname "$0")/.."
stamp=.venv/.tidemill-setup
torch_stamp=.venv/.tidemill-torch # the choice that was made when torch was last looked for
newest_python=14 # of Python 3: beyond it, packages have no wheels yet
needed_mb=1000   # for what uv.lock says, with uv's own copies of it

say() { printf 'tidemill: %s\n' "$*" >&2; }

wanted() {
    {
        cat uv.lock pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml deploy/bootstrap.sh
        printf 'python=%s\n' "${UV_PYTHON:-}"
    } | cksum
}
has_torch() { ls -d .venv/lib/python3.*/site-packages/torch >/dev/null 2>&1; }
torch_settled() { has_torch || [ "$(cat "$torch_stamp" 2>/dev/null)" = "${TIDEMILL_TORCH:-auto}" ]; }
installed() { [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; }
up_to_date() { installed && torch_settled; }

if up_to_date; then exit 0; fi

# Two at once: the second waits and then finds the work done. (Where flock is missing, uv's own lock keeps order.)
if [ -z "${TIDEMILL_SETUP_LOCKED:-}" ] && command -v flock >/dev/null; then
    mkdir -p .tools
    export TIDEMILL_SETUP_LOCKED=1
    flock --nonblock .tools/setup.lock true || say "another setup is running in this checkout; waiting for it"
    exec flock .tools/setup.lock "$0"
fi

fits="import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, $newest_python))"
if [ -n "${UV_PYTHON:-}" ]; then
    python=$UV_PYTHON
elif python3 -c "$fits" 2>/dev/null; then
    # The interpreter itself: uv takes a shim, as pyenv has them, for another one each time, and begins .venv anew.
    python=$(python3 -c 'import sys; print(sys.executable)')
else
    python=3.12
    say "no python3 between 3.11 and 3.$newest_python here; uv fetches $python"
fi

if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
if ! installed; then
    target=$(wanted)
    rm -f "$stamp"
    free_mb=$(df -Pm . | awk 'NR == 2 { print $4 }')
    if [ "$free_mb" -lt "$needed_mb" ]; then
        say "$(pwd) has $free_mb MB free, and the packages need $needed_mb"
        exit 1
    fi
    say "installing packages into .venv (160 MB to fetch, 500 MB on disk, once)"
    uv sync --frozen --inexact --python "$python"
    printf '%s\n' "$target" >"$stamp"
fi
if ! torch_settled; then
    .venv/bin/python -m tidemill.stack.torch_wheel
    printf '%s\n' "${TIDEMILL_TORCH:-auto}" >"$torch_stamp"
fi
