"""`python -m tidemill.stack up|down|status|logs`: parses the arguments and calls the command."""

import argparse
import asyncio
import os
import sys
from pathlib import Path

from tidemill.stack.command_line import commands, status
from tidemill.stack.command_line.commands import UpRequest
from tidemill.stack.home import layout
from tidemill.stack.home.layout import AlreadyRunningError, Home, HomeError
from tidemill.stack.processes.ports import LAST_PORT
from tidemill.stack.reporting import detach
from tidemill.stack.supervision.supervisor import DEFAULT_PORT

LOG_LINES = 20
PORT_HELP = f"the gateway's port, also of later starts; if never given, {DEFAULT_PORT} or the first free one above"


class PortError(ValueError):
    """The text is not a port number. The message says so."""


def main(arguments: list[str]) -> int:
    parsed = _parser().parse_args(arguments)
    home = layout.locate(os.environ)
    try:
        if parsed.command == "up" and parsed.port is None:
            parsed.port = _environment_port()
        status = _dispatch(parsed, home, arguments)
        sys.stdout.flush()
    except (HomeError, PortError) as error:
        print(f"tidemill: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        print(f"tidemill: {error.filename or home.path}: {error.strerror or error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return status


def _dispatch(parsed: argparse.Namespace, home: Home, arguments: list[str]) -> int:
    match parsed.command:
        case "up":
            return _up(parsed, home, arguments)
        case "down":
            return commands.down(home)
        case "status":
            return asyncio.run(status.show(home))
        case _:
            return commands.show_logs(home, parsed.name, parsed.lines, follow=parsed.follow)


def _up(parsed: argparse.Namespace, home: Home, arguments: list[str]) -> int:
    if home.owner() is not None:
        return commands.already_up(home, parsed.port)
    if parsed.detach:
        home.prepare()
        kept = [argument for argument in arguments[1:] if argument != "--detach"]
        return detach.start(kept, home.log("stack"), lambda text: print(text, flush=True))
    catalogue = None if parsed.no_catalogue else parsed.catalogue
    request = UpRequest(
        port=parsed.port, programs=parsed.programs, catalogue=catalogue, report_descriptor=parsed.report_fd
    )
    try:
        return commands.up(home, request)
    except AlreadyRunningError:
        return commands.already_up(home, parsed.port)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="tidemill.stack", description="The embedded stack of this checkout")
    subcommands = parser.add_subparsers(dest="command", required=True)
    up = subcommands.add_parser("up", help="start everything; stays in the foreground")
    up.add_argument("--detach", action="store_true", help="return when it is ready")
    up.add_argument("--port", type=_argument_port, help=PORT_HELP)
    up.add_argument("--no-catalogue", action="store_true", help="push no models")
    up.add_argument("--catalogue", type=Path, help="directory of the models to push")
    up.add_argument(
        "--programs", type=Path, default=Path(sys.executable).parent, help="where the services' commands are"
    )
    up.add_argument("--report-fd", type=int, help=argparse.SUPPRESS)
    subcommands.add_parser("down", help="stop everything")
    subcommands.add_parser("status", help="what runs; exits 0 when all is ready")
    logs = subcommands.add_parser("logs", help="the ends of the logs")
    logs.add_argument("name", nargs="?", help="a server or service; all without")
    logs.add_argument("-f", "--follow", action="store_true", help="go on with what is added")
    logs.add_argument("-n", "--lines", type=int, default=LOG_LINES, help="how many lines of each")
    return parser


def _environment_port() -> int | None:
    given = os.environ.get("TIDEMILL_PORT")
    try:
        return _port(given) if given else None
    except PortError as error:
        raise PortError(f"TIDEMILL_PORT: {error}") from None


def _argument_port(text: str) -> int:
    try:
        return _port(text)
    except PortError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _port(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) <= LAST_PORT:
        raise PortError(f"{text!r} is no port between 1 and {LAST_PORT}")
    return int(text)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
