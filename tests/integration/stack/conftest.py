"""Stand-ins for the services and the command: they answer readiness, and fail when a file beside them says so."""

import sys

import pytest

SERVICES = ("gateway", "scheduler", "worker", "webhook-dispatcher", "storage-janitor")

SERVICE = """#!{python}
import http.server, os, pathlib, signal, socket, sys, threading

name = pathlib.Path(sys.argv[0]).name
if (pathlib.Path(sys.argv[0]).parent / (name + ".fails")).exists():
    sys.exit(name + " cannot go on")

class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        known = self.headers.get("Authorization") in (None, "Bearer token-of-local", "Bearer token-of-tidemill")
        self.send_response(200 if known else 401)
        self.end_headers()

    def log_message(self, *args):
        pass

def listen(port):
    return http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Ready)

signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
print("started", name, os.environ["TIDEMILL_DATABASE_URL"], flush=True)
if "TIDEMILL_LISTEN_FD" in os.environ:
    api = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Ready, bind_and_activate=False)
    api.socket = socket.socket(fileno=int(os.environ["TIDEMILL_LISTEN_FD"]))
    threading.Thread(target=api.serve_forever, daemon=True).start()
listen(os.environ["TIDEMILL_OPS_PORT"]).serve_forever()
"""

COMMAND = """#!/bin/sh
here=$(dirname "$0")
echo "$REPLICATE_API_TOKEN|$*" >>"$here/calls"
case "$1 $2" in
    "token create") echo "token-of-$3" ;;
    "run tidemill/noop") echo "hello" ;;
    "push tidemill/broken") echo "no such package" >&2; exit 1 ;;
esac
"""


@pytest.fixture(scope="session")
def install_programs():
    """Writes the stand-ins into a new directory, and returns it."""

    def install(directory):
        directory.mkdir()
        for service in SERVICES:
            _script(directory / f"tidemill-{service}", SERVICE.replace("{python}", sys.executable))
        _script(directory / "tidemill", COMMAND)
        return directory

    return install


def _script(path, text):
    path.write_text(text)
    path.chmod(0o755)
