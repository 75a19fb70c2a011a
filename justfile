set positional-arguments

python := ".venv/bin/python"
stack := python + " -m tidemill.stack"

@_default:
    {{ quote(just_executable()) }} --justfile {{ quote(justfile()) }} --list --unsorted

# Start the stack and the services, push the catalogue, run a prediction (--detach, --port N, --no-catalogue)
[no-exit-message]
@up *ARGS: setup
    exec {{ stack }} up --catalogue deploy/catalogue "$@"

# Stop everything that `up` started
[no-exit-message]
@down: _environment
    exec {{ stack }} down

# Show servers and services; exits 0 when all are ready
[no-exit-message]
@status: _environment
    exec {{ stack }} status

# Show the logs, of one server or service or of all (-f follows, -n N lines)
[no-exit-message]
@logs *ARGS: _environment
    exec {{ stack }} logs "$@"

# Run the tests, two folders at a time (arguments go to pytest)
[no-exit-message]
@test *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} -m pytest -n 2 "$@"

# Check style
[no-exit-message]
@lint: setup
    {{ python }} -m ruff check .
    {{ python }} -m ruff format --check .

# Check types
[no-exit-message]
@type: setup
    {{ python }} -m mypy libs services

# Rewrite the code in the agreed format
@format: setup
    {{ python }} -m ruff check --fix .
    {{ python }} -m ruff format .

# Rewrite the OpenAPI document and the reference in docs/ from the route table
@docs: setup
    {{ python }} -m tidemill.gateway.docs_writer docs
    {{ python }} -m tidemill.contracts.asyncapi > docs/asyncapi.json

# Try every operation of the OpenAPI document much longer than the tests do
@conformance *ARGS: _setup-for-tests
    CONFORMANCE_EXAMPLES=500 exec deploy/clean-env.sh {{ python }} -m pytest --timeout 0 tests/e2e/test_openapi_conformance.py "$@"

# Send 100,000 requests of all kinds (--requests N for another number) and look at the gateway's memory
@fuzz *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} tests/load/fuzz.py "$@"

# Ten thousand predictions that crash, hang and run out of memory (arguments go to tests/load/soak.py)
[no-exit-message]
@soak *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} tests/load/soak.py "$@"

# Break each promise in a copy of the checkout: some test must notice (--only TEXT, --jobs N, --list)
[no-exit-message]
@mutate *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} tests/mutation/run.py "$@"

# Compare with coglet on this machine (arguments go to tests/load/bench.py)
[no-exit-message]
@bench *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} tests/load/bench.py "$@"

# Compare cold boots with coglet's on this machine (--rounds N, --small-only)
[no-exit-message]
@bench-boot *ARGS: _setup-for-tests
    exec deploy/clean-env.sh {{ python }} tests/load/boot_bench.py "$@"

# Install what uv.lock says, and torch, into .venv (TIDEMILL_TORCH=cpu, cuda, any or none says which)
[no-exit-message]
@setup:
    deploy/bootstrap.sh

# Some tests need torch, whichever build is to be had
[no-exit-message]
@_setup-for-tests:
    TIDEMILL_TORCH="${TIDEMILL_TORCH:-any}" deploy/bootstrap.sh

# Stopping and looking must not change an environment that services run from
[no-exit-message]
@_environment:
    test -x {{ python }} || deploy/bootstrap.sh
