"""The shape of the house, held by tests: who may import whom, which files a service has, how large a module gets."""

import ast
import graphlib
import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path for path in (ROOT / "services").iterdir() if (path / "pyproject.toml").exists())
LIBS = sorted(path for path in (ROOT / "libs").iterdir() if (path / "pyproject.toml").exists())
AGREED_FILES = ("main.py", "config.py", "triggers.py", "handlers")
MODULE_LIMIT_LINES = 300
FOLDER_LIMIT_MODULES = 25  # more than that nobody takes in: they want folders by what they are about
PACKAGES = [*SERVICES, *LIBS]
# Their top `__init__` is a facade: cog's names are fixed by Cog, stack's servers are imported by all tests.
FACADES = {"cog", "stack"}
# What each library may build on; services may use them all. Whoever is not listed imports no sibling.
MAY_USE = {
    "cli": {"contracts", "hosting", "runtime", "security", "stack"},
    "cog": set(),
    "contracts": set(),
    "hosting": {"contracts", "model", "runtime", "security"},
    "model": {"cog"},
    "runtime": {"contracts", "security"},
    "security": {"contracts"},
    "stack": {"contracts", "runtime"},
    "testing": {"contracts", "runtime", "security", "stack"},
}


def sources(package):
    return sorted((package / "src").rglob("*.py"))


def imported_names(path):
    """Whatever a module imports, and where from, by full names."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def imported(path):
    """Names of the workspace's packages that a module imports."""
    for name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "cog":
            yield "cog"
        elif parts[0] == "tidemill" and len(parts) > 1:
            yield parts[1]


def imports_within(package):
    """Which modules of the package each of its modules imports, as parts of their names below it.

    Imports in functions and those for type checkers count: what is hidden there is a tie all the same. Whoever imports
    a folder imports what its `__init__` gathers.
    """
    source, name = package / "src", full_name(package)
    root = source / name.replace(".", "/")
    known = {
        path.relative_to(root).with_suffix("").parts: path for path in sources(package) if path.name != "__init__.py"
    }
    graph = {}
    for module, path in known.items():
        names = set(imported_names(path))
        for folder in names - {name}:
            gathered = source / folder.replace(".", "/") / "__init__.py"
            if gathered.exists():
                names = names | set(imported_names(gathered))
        below = (each.removeprefix(f"{name}.").split(".") for each in names if each.startswith(f"{name}."))
        graph[module] = {tuple(parts) for parts in below} & known.keys()
    return graph


def cycle(graph):
    """The nodes of a way that leads back to where it began; None where there is none."""
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return error.args[1]
    return None


def full_name(package):
    project = tomllib.loads((package / "pyproject.toml").read_text())
    return project["tool"]["uv"]["build-backend"]["module-name"]


def module_name(package):
    return full_name(package).removeprefix("tidemill.")


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_a_service_has_the_agreed_files(service):
    package = service / "src" / "tidemill" / module_name(service)
    missing = [name for name in AGREED_FILES if not (package / name).exists()]
    assert not missing
    assert (package / "store.py").exists() != (package / "stores").exists(), "its SQL stands in the one or the other"
    assert (service / "README.md").exists()
    scripts = tomllib.loads((service / "pyproject.toml").read_text())["project"]["scripts"]
    assert scripts == {f"tidemill-{service.name}": f"tidemill.{module_name(service)}.main:cli"}


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_services_never_import_each_other(service):
    siblings = {module_name(other) for other in SERVICES if other != service}
    wrong = {
        str(path.relative_to(ROOT)): name for path in sources(service) for name in imported(path) if name in siblings
    }
    assert not wrong


@pytest.mark.parametrize("lib", LIBS, ids=lambda path: path.name)
def test_libraries_build_on_their_foundations_only(lib):
    own = module_name(lib)
    wrong = {
        str(path.relative_to(ROOT)): name
        for path in sources(lib)
        for name in imported(path)
        if name not in {own, *MAY_USE[lib.name]}
    }
    assert not wrong


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_is_a_landfill(package):
    names = {"utils", "util", "common", "helpers", "core", "misc", "base"}
    for path in sources(package):
        assert path.stem not in names, f"{path} has a name that says nothing"
        assert len(path.read_text().splitlines()) <= MODULE_LIMIT_LINES, f"{path} holds more than one thing"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_folder_is_a_crowd(package):
    crowds = {}
    for folder in {path.parent for path in sources(package)}:
        modules = [path.name for path in folder.glob("*.py") if path.name != "__init__.py"]
        if len(modules) > FOLDER_LIMIT_MODULES:
            crowds[str(folder.relative_to(ROOT))] = len(modules)
    assert not crowds


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_folders_say_what_they_own_and_hand_on_nothing_but_their_modules(package):
    top = package / "src" / full_name(package).replace(".", "/") / "__init__.py"
    for path in sources(package):
        if path.name == "__init__.py" and not (path == top and package.name in FACADES):
            docstring, *rest = ast.parse(path.read_text()).body
            assert isinstance(docstring, ast.Expr), f"{path} says nothing"
            for statement in rest:
                gathers = isinstance(statement, ast.ImportFrom) and statement.module.endswith(f".{path.parent.name}")
                assert gathers or ast.unparse(statement).startswith("__all__ = "), f"{path}:{statement.lineno}"


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_no_module_imports_itself_by_a_roundabout_way(package):
    assert cycle(imports_within(package)) is None


def between_folders(modules):
    """The graph of imports between folders and top-level modules: a folder counts as one, and so does each module."""
    graph = {}
    for module, others in modules.items():
        graph.setdefault(module[0], set()).update({other[0] for other in others} - {module[0]})
    return graph


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_arrows_between_folders_and_top_level_modules_run_one_way(package):
    assert cycle(between_folders(imports_within(package))) is None


@pytest.mark.parametrize(
    ("modules", "circle"),
    [
        ({("main",): {("api", "routes")}, ("api", "routes"): {("store",)}, ("store",): set()}, None),
        ({("api", "routes"): {("api", "call")}, ("api", "call"): set()}, None),
        (
            {("call",): {("parts",)}, ("parts",): {("live", "feeds")}, ("live", "feeds"): {("call",)}},
            {"call", "parts", "live"},
        ),
        ({("a", "one"): {("b", "one")}, ("b", "two"): {("a", "two")}, ("b", "one"): set()}, {"a", "b"}),
    ],
)
def test_a_circle_of_folders_and_modules_is_found(modules, circle):
    found = cycle(between_folders(modules))
    assert (None if found is None else set(found)) == circle


def importers(modules, wanted):
    return {module for module, others in modules.items() if wanted in others}


@pytest.mark.parametrize("service", SERVICES, ids=lambda path: path.name)
def test_only_main_and_triggers_know_all_parts(service):
    """Handlers get what they need by protocols or arguments, not one struct with everything."""
    assert importers(imports_within(service), ("parts",)) <= {("main",), ("triggers",)}


def test_an_importer_of_the_parts_is_found():
    modules = {("main",): {("parts",)}, ("handlers", "models"): {("parts",), ("store",)}, ("store",): set()}
    assert importers(modules, ("parts",)) == {("main",), ("handlers", "models")}


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_modules_say_what_they_own(package):
    for path in sources(package):
        assert ast.get_docstring(ast.parse(path.read_text())), f"{path} has no docstring"


def test_contracts_need_msgspec_alone():
    for path in sources(ROOT / "libs" / "contracts"):
        roots = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                roots |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                roots.add(node.module.split(".")[0])
        assert not roots & {"aiohttp", "asyncpg", "nats", "structlog", "minio"}, path


def test_only_subjects_spells_subjects():
    pattern = re.compile(r"""["'](?:f?["'])?(?:job|prediction|output|fleet|webhook)\.[a-z{*>]""")
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in [*SERVICES, *LIBS]
        for path in sources(package)
        if path.name != "subjects.py"
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if pattern.search(line)
    ]
    assert not wrong


def test_only_egress_reaches_users_urls():
    """aiohttp's client is made in three places: egress, the object store, and the supervisor's probes."""
    makers = {
        str(path.relative_to(ROOT))
        for package in [*SERVICES, *LIBS]
        for path in sources(package)
        if "ClientSession(" in path.read_text()
    }
    allowed = re.compile(r"libs/(security/.*/egress/client\.py|runtime/.*/objects/store\.py|stack/.*|testing/.*)")
    assert not {maker for maker in makers if not allowed.match(maker)}


def test_the_broad_catch_stands_at_the_boundaries_only():
    allowed = {"http.py", "run_tasks.py", "bus.py"}
    for service in SERVICES:
        for path in sources(service):
            for node in ast.walk(ast.parse(path.read_text())):
                broad = isinstance(node, ast.ExceptHandler) and isinstance(node.type, ast.Name)
                if broad and node.type.id == "Exception":
                    assert path.name in allowed, f"{path}:{node.lineno}"


# Who may start a task, and how it is ended. All others use these, a TaskGroup, or the service's own tasks.
TASK_OWNERS = {
    "libs/runtime/src/tidemill/runtime/tasks.py": "what begins on demand; logged when it fails",
    "libs/runtime/src/tidemill/runtime/service.py": "what runs for as long as a service; the service ends with it",
    "libs/runtime/src/tidemill/runtime/batch.py": "one flush at a time; its error goes to all whose items it had",
    "libs/hosting/src/tidemill/hosting/single_flight.py": "calls that askers share; ended with the last one who asks",
    "libs/hosting/src/tidemill/hosting/threads.py": "one call, waited for also by a canceled caller",
    "libs/security/src/tidemill/security/egress/proxy.py": "the two directions of a connection, gathered",
    "libs/stack/src/tidemill/stack/reporting/report.py": "a reminder, for as long as what it reminds of",
    "libs/stack/src/tidemill/stack/supervision/supervisor.py": "the supervisor's own; the stack ends with one of them",
    "libs/cli/src/tidemill/cli/dev/server.py": "one prediction of a developer's server, kept in its record",
    "libs/model/src/tidemill/model/serving/health.py": "in the child: one question, kept until it is answered",
    "libs/model/src/tidemill/model/serving/async_server.py": "in the child: one prediction, kept until it ends",
    "libs/testing/src/tidemill/testing/hostile_uploads.py": "of tests",
    "libs/testing/src/tidemill/testing/services.py": "of tests",
    "libs/testing/src/tidemill/testing/soak.py": "of tests",
    "services/gateway/src/tidemill/gateway/ttl_cache.py": "look-ups that askers share; a failure is theirs",
    "services/scheduler/src/tidemill/scheduler/handlers/effects.py": "in the sweeper's TaskGroup",
}


def task_groups(tree):
    """The names of the task groups that a module opens."""
    for node in ast.walk(tree):
        for item in node.items if isinstance(node, ast.AsyncWith) else ():
            if ast.unparse(item.context_expr) == "asyncio.TaskGroup()" and item.optional_vars is not None:
                yield ast.unparse(item.optional_vars)


def bare_tasks(path):
    """The lines of a module that start a task which is no task group's."""
    tree = ast.parse(path.read_text())
    groups = set(task_groups(tree))
    for node in ast.walk(tree):
        called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
        owner, _, name = called.rpartition(".")
        if name in {"create_task", "ensure_future"} and owner not in groups:
            yield node.lineno


def test_only_the_owners_of_tasks_start_them():
    wrong, idle = {}, set(TASK_OWNERS)
    for package in [*SERVICES, *LIBS]:
        for path in sources(package):
            name, lines = str(path.relative_to(ROOT)), list(bare_tasks(path))
            if lines and name not in TASK_OWNERS:
                wrong[name] = lines
            elif lines:
                idle.discard(name)
    assert not wrong, "nobody notices when such a task dies: use tidemill.runtime.tasks.Tasks or Service.task"
    assert not idle, "these own no task any more"


def test_the_readme_begins_with_the_two_commands():
    text = (ROOT / "README.md").read_text()
    commands = re.findall(r"^\./just .*$", text, re.MULTILINE)
    assert commands[:2] == ["./just up --detach", "./just test"]


def test_ci_runs_the_readmes_test_command():
    assert "./just test" in (ROOT / ".ci" / "run").read_text()
