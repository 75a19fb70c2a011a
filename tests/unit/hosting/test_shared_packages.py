import zipfile

from packaging.requirements import Requirement

from tidemill.hosting.environments.shared_packages import (
    SharedPackage,
    are_satisfied,
    build_variants,
    find_shared_packages,
    named_in,
    remove_placeholders,
    select_packages,
    write_placeholders,
)

TORCH = SharedPackage("torch", "2.9.1+cpu", ("sympy>=1.13", "typing-extensions"), ("Provides-Extra: optree",))
PACKAGES = (SharedPackage("numpy", "2.4.0", ()), SharedPackage("sympy", "1.14.0", ()), TORCH)


def ways(*specifiers):
    return [tuple(package.name for package in way.packages) for way in build_variants(specifiers, PACKAGES)]


def test_the_most_sharing_first_and_none_at_last():
    assert ways("six") == [("numpy", "sympy", "torch"), ("numpy", "torch"), ()]
    assert [way.can_preload for way in build_variants(["six"], PACKAGES)] == [True, False, False]


def test_another_torch_shares_nothing():
    assert ways("torch==2.1.0", "six") == [()]
    assert ways("torch<2.9") == [()]


def test_another_numpy_still_shares_torch():
    assert ways("numpy<2", "six") == [("torch",), ()]


def test_another_sympy_shares_both_but_preloads_nothing():
    assert ways("sympy==1.12") == [("numpy", "torch"), ()]


def test_the_same_torch_shares_all():
    assert ways("torch==2.9.1")[0] == ("numpy", "sympy", "torch")
    assert ways("torch==2.9.1+cpu")[0] == ("numpy", "sympy", "torch")
    assert ways("torch==2.9.1+cu126") == [()]


def test_a_worker_without_torch():
    assert build_variants(["six"], ()) == build_variants(["six"], ())[:1]
    assert build_variants(["six"], ())[0].requirements == ("six",)


def test_the_constraints_for_the_resolver():
    first, second, last = build_variants(["torch[optree]==2.9.1+cpu", "numpy>=2", "six"], PACKAGES)
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
    assert are_satisfied([], PACKAGES)
    assert are_satisfied(["torch>=2", "numpy==2.4.0", "sympy"], PACKAGES)
    assert are_satisfied(['six; python_version < "3"', "torch"], PACKAGES)
    assert not are_satisfied(["torch", "six"], PACKAGES)
    assert not are_satisfied(["torch==2.1"], PACKAGES)
    assert not are_satisfied(["torch[optree]"], PACKAGES)


def test_packages_that_are_named():
    assert named_in(["torch>=2", 'numpy; python_version < "3"'], ("numpy", "torch")) == ("torch",)


HUB = SharedPackage("huggingface-hub", "1.0.0", ("requests",))
REQUESTS = SharedPackage("requests", "2.32.0", ())
TRANSFORMERS = SharedPackage("transformers", "5.0.0", ("huggingface-hub>=1", "numpy>=2"))
WITH_TRANSFORMERS = (HUB, *PACKAGES, REQUESTS, TRANSFORMERS)
ALL = ("huggingface-hub", "numpy", "sympy", "torch", "requests", "transformers")


def names(packages):
    return tuple(package.name for package in packages)


def test_transformers_is_shared_by_those_who_name_it():
    assert names(select_packages(["torch", "transformers>=5"], WITH_TRANSFORMERS)) == ALL
    assert select_packages(["torch", "six"], WITH_TRANSFORMERS) == PACKAGES
    assert select_packages(["torch", "requests<2"], WITH_TRANSFORMERS) == PACKAGES  # nothing to do with torch


def test_another_transformers_or_dependency_still_shares_and_preloads_torch():
    for pin in ("transformers<5", "requests<2"):
        wanted = ["torch", "transformers", pin]
        assert select_packages(wanted, WITH_TRANSFORMERS) == PACKAGES
        assert build_variants(wanted, PACKAGES)[0].can_preload


def test_torch_is_shared_without_transformers_if_that_has_no_solution():
    wanted = ["torch", "transformers", "six"]
    ways = build_variants(wanted, select_packages(wanted, WITH_TRANSFORMERS))
    assert [names(way.packages) for way in ways] == [ALL, names(PACKAGES), ("numpy", "torch"), ()]
    assert [way.can_preload for way in ways] == [True, True, False, False]


def test_a_placeholder_is_a_wheel_and_leaves_no_trace(tmp_path):
    write_placeholders(PACKAGES, tmp_path)
    wheel = tmp_path / "torch-2.9.1+tidemill-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
        metadata = archive.read("torch-2.9.1+tidemill.dist-info/METADATA").decode()
    assert "Provides-Extra: optree" in metadata
    (tmp_path / "site" / "six-1.0.dist-info").mkdir()
    assert remove_placeholders(tmp_path / "site") == ("torch",)
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["six-1.0.dist-info"]


def test_the_shared_packages_of_this_interpreter_include_their_dependencies():
    packages = find_shared_packages(["pytest"])
    names = {package.name for package in packages}
    assert {"pytest", "pluggy", "packaging"} <= names
    assert all(Requirement(dependency).marker is None for package in packages for dependency in package.dependencies)
    assert find_shared_packages(["no-such-package-here"]) == ()
