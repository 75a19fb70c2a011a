set positional-arguments

python := ".venv/bin/python"
stack := python + " -m tidemill.stack"

@_default:
    {{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# Start the stack and the services, push the catalogue, run a prediction (--detach, --port N, --no-catalogue)
@up *ARGS: setup
    exec {{ stack }} up --catalogue deploy/catalogue "$@"

# Stop everything that `up` started
@down: _environment
    exec {{ stack }} down

# Show servers and services; exits 0 when all are ready
@status: _environment
    exec {{ stack }} status

# Show the logs, of one server or service or of all (-f follows, -n N lines)
@logs *ARGS: _environment
    exec {{ stack }} logs "$@"

# Run the tests (arguments go to pytest)
@test *ARGS: setup
    exec deploy/clean-env.sh {{ python }} -m pytest "$@"

# Check style
@lint: setup
    {{ python }} -m ruff check .
    {{ python }} -m ruff format --check .

# Check types
@type: setup
    {{ python }} -m mypy libs services

# Rewrite the code in the agreed format
@format: setup
    {{ python }} -m ruff check --fix .
    {{ python }} -m ruff format .

# Compare with coglet on this machine (arguments go to tests/load/bench.py)
@bench *ARGS: setup
    exec deploy/clean-env.sh {{ python }} tests/load/bench.py "$@"

# Install what uv.lock says, and torch, into .venv
@setup:
    deploy/bootstrap.sh

# Stopping and looking must not change an environment that services run from
@_environment:
    test -x {{ python }} || deploy/bootstrap.sh
