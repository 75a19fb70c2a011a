#!/bin/sh
# Makes .venv what uv.lock says and adds torch, which is not locked: its right build depends on the machine.
# Does nothing when nothing has changed. Needs uv on PATH; `./just` sees to that.
# TIDEMILL_TORCH=skip leaves torch out.
set -eu

cd "$(dirname "$0")/.."
stamp=.venv/.tidemill-setup
newest_python=14 # of Python 3: beyond it, packages have no wheels yet

say() { printf 'tidemill: %s\n' "$*" >&2; }

wanted() {
    {
        cat uv.lock pyproject.toml libs/*/pyproject.toml services/*/pyproject.toml deploy/bootstrap.sh
        printf 'torch=%s python=%s\n' "${TIDEMILL_TORCH:-}" "${UV_PYTHON:-}"
    } | cksum
}
up_to_date() { [ -x .venv/bin/python ] && [ "$(cat "$stamp" 2>/dev/null)" = "$(wanted)" ]; }

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
    python=$(command -v python3)
else
    python=3.12
    say "no python3 between 3.11 and 3.$newest_python here; uv fetches $python"
fi

if [ -n "${PIP_CERT:-}" ] && [ -z "${SSL_CERT_FILE:-}" ]; then export SSL_CERT_FILE="$PIP_CERT"; fi
target=$(wanted)
rm -f "$stamp"
say "installing packages into .venv (some 400 MB, once)"
uv sync --frozen --inexact --python "$python"
.venv/bin/python -m tidemill.stack.torch_wheel
printf '%s\n' "$target" >"$stamp"
