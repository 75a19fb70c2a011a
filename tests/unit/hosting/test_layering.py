import zipfile

from packaging.requirements import Requirement

from tidemill.hosting.environments.layering import (
    Layer,
    attempts,
    installed_layers,
    named,
    relevant,
    remove_stand_ins,
    satisfied,
    write_stand_ins,
)

TORCH = Layer("torch", "2.9.1+cpu", ("sympy>=1.13", "typing-extensions"), ("Provides-Extra: optree",))
LAYERS = (Layer("numpy", "2.4.0", ()), Layer("sympy", "1.14.0", ()), TORCH)


def ways(*specifiers):
    return [tuple(layer.name for layer in way.layers) for way in attempts(specifiers, LAYERS)]


def test_the_most_sharing_first_and_none_at_last():
    assert ways("six") == [("numpy", "sympy", "torch"), ("numpy", "torch"), ()]
    assert [way.shares_imports for way in attempts(["six"], LAYERS)] == [True, False, False]


def test_another_torch_shares_nothing():
    assert ways("torch==2.1.0", "six") == [()]
    assert ways("torch<2.9") == [()]


def test_another_numpy_still_shares_torch():
    assert ways("numpy<2", "six") == [("torch",), ()]


def test_another_sympy_shares_both_but_imports_nothing_ahead():
    assert ways("sympy==1.12") == [("numpy", "torch"), ()]


def test_the_same_torch_shares_all():
    assert ways("torch==2.9.1")[0] == ("numpy", "sympy", "torch")
    assert ways("torch==2.9.1+cpu")[0] == ("numpy", "sympy", "torch")
    assert ways("torch==2.9.1+cu126") == [()]


def test_a_worker_without_torch():
    assert attempts(["six"], ()) == attempts(["six"], ())[:1]
    assert attempts(["six"], ())[0].requirements == ("six",)


def test_what_the_resolver_is_told():
    first, second, last = attempts(["torch[optree]==2.9.1+cpu", "numpy>=2", "six"], LAYERS)
    assert first.requirements == ("torch[optree]", "numpy", "six")
    assert first.constraints == (
        "numpy==2.4.0+tidemill",
        "sympy==1.14.0+tidemill",
        "torch==2.9.1+tidemill",
        "typing-extensions",
    )
    assert second.constraints == (
        "numpy==2.4.0+tidemill",
        "sympy>=1.13",
        "torch==2.9.1+tidemill",
        "typing-extensions",
    )
    assert last.requirements == ("torch[optree]==2.9.1+cpu", "numpy>=2", "six")
    assert last.constraints == ()


def test_what_the_worker_has_already():
    assert satisfied([], LAYERS)
    assert satisfied(["torch>=2", "numpy==2.4.0", "sympy"], LAYERS)
    assert satisfied(['six; python_version < "3"', "torch"], LAYERS)
    assert not satisfied(["torch", "six"], LAYERS)
    assert not satisfied(["torch==2.1"], LAYERS)
    assert not satisfied(["torch[optree]"], LAYERS)


def test_what_is_named():
    assert named(["torch>=2", 'numpy; python_version < "3"'], ("numpy", "torch")) == ("torch",)


HUB = Layer("huggingface-hub", "1.0.0", ("requests",))
REQUESTS = Layer("requests", "2.32.0", ())
TRANSFORMERS = Layer("transformers", "5.0.0", ("huggingface-hub>=1", "numpy>=2"))
WITH_TRANSFORMERS = (HUB, *LAYERS, REQUESTS, TRANSFORMERS)
ALL = ("huggingface-hub", "numpy", "sympy", "torch", "requests", "transformers")


def names(layers):
    return tuple(layer.name for layer in layers)


def test_transformers_is_shared_by_those_who_name_it():
    assert names(relevant(["torch", "transformers>=5"], WITH_TRANSFORMERS)) == ALL
    assert relevant(["torch", "six"], WITH_TRANSFORMERS) == LAYERS
    assert relevant(["torch", "requests<2"], WITH_TRANSFORMERS) == LAYERS  # nothing to do with torch


def test_another_transformers_or_another_of_its_needs_still_shares_torch_and_its_import():
    for pin in ("transformers<5", "requests<2"):
        wanted = ["torch", "transformers", pin]
        assert relevant(wanted, WITH_TRANSFORMERS) == LAYERS
        assert attempts(wanted, LAYERS)[0].shares_imports


def test_where_transformers_leaves_no_solution_torch_is_shared_without_it():
    wanted = ["torch", "transformers", "six"]
    ways = attempts(wanted, relevant(wanted, WITH_TRANSFORMERS))
    assert [names(way.layers) for way in ways] == [ALL, names(LAYERS), ("numpy", "torch"), ()]
    assert [way.shares_imports for way in ways] == [True, True, False, False]


def test_a_stand_in_is_a_wheel_and_leaves_no_trace(tmp_path):
    write_stand_ins(LAYERS, tmp_path)
    wheel = tmp_path / "torch-2.9.1+tidemill-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        metadata = archive.read("torch-2.9.1+tidemill.dist-info/METADATA").decode()
    assert "Provides-Extra: optree" in metadata
    (tmp_path / "site" / "six-1.0.dist-info").mkdir()
    assert remove_stand_ins(tmp_path / "site") == ("torch",)
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["six-1.0.dist-info"]


def test_the_layers_of_this_interpreter_are_closed():
    layers = installed_layers(["pytest"])
    names = {layer.name for layer in layers}
    assert {"pytest", "pluggy", "packaging"} <= names
    assert all(Requirement(need).marker is None for layer in layers for need in layer.needs)
    assert installed_layers(["no-such-package-here"]) == ()
