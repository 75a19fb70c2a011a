import importlib
import io
import pathlib
import pickle
import typing

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

import cog
from cog import File, Input, Path, Secret, URLFile, URLPath
from cog.input import MISSING
from cog.types import Weights, get_filename


def test_path_is_a_path():
    path = Path("/tmp") / "a.txt"
    assert type(path) is Path
    assert isinstance(path, pathlib.Path)
    assert path == pathlib.Path("/tmp/a.txt")
    assert pickle.loads(pickle.dumps(path)) == path
    assert Path.validate(path) is path


def test_a_data_url_becomes_a_file():
    path = Path.validate("data:text/plain;base64,aGVsbG8=")
    assert isinstance(path, URLPath)
    assert path.filename == "file.txt"
    converted = path.convert()
    assert converted is path.convert()
    assert converted.read_text() == "hello"
    path.unlink()
    assert not converted.exists()
    path.unlink(missing_ok=True)


def test_an_http_url_is_not_fetched_before_it_is_read():
    path = Path.validate("https://host.invalid/a/b%20c.png?x=1")
    assert str(path) == "https://host.invalid/a/b%20c.png?x=1"
    assert path.filename == "b c.png"
    assert isinstance(path.fileobj, URLFile)
    assert str(path.parent) == "."
    assert str(path.with_suffix(".jpg")) == "b c.jpg"


def test_url_file_pickles_as_its_url():
    file = URLFile("https://host.invalid/a.png")
    again = pickle.loads(pickle.dumps(file))
    assert (again.url, again.name) == ("https://host.invalid/a.png", "a.png")
    assert again.readable()
    assert repr(again) == "URLFile('https://host.invalid/a.png')"
    with pytest.raises(ValueError, match="http"):
        URLFile("file:///etc/passwd")


def test_url_file_reads_its_response():
    file = URLFile("https://host.invalid/a.txt")
    file._response = io.BytesIO(b"one\ntwo")
    assert file.readline() == b"one\n"
    assert file.read() == b"two"
    file.close()
    assert file.closed


@pytest.mark.parametrize("value", ["/etc/passwd", "file:///etc/passwd", "ftp://host/a"])
def test_other_texts_are_no_files(value):
    with pytest.raises(ValueError, match="is not a URL scheme"):
        Path.validate(value)


def test_file_takes_open_files_as_they_are():
    file = io.BytesIO(b"x")
    assert File.validate(file) is file


@given(st.text())
def test_file_names_are_short_and_have_no_separators(text):
    name = get_filename("https://host/" + text.replace("/", "%2F").replace("[", "").replace("]", ""))
    assert "/" not in name
    assert "\0" not in name
    assert len(name.encode()) <= 200


def test_a_long_name_keeps_its_extension():
    assert get_filename(f"https://host/{'x' * 300}.png").endswith("x~.png")
    assert get_filename("data:application/x-unheard-of,a") == "file"


def test_secret_hides_itself():
    secret = Secret("hunter2")
    assert "hunter2" not in f"{secret} {secret!r}"
    assert secret.get_secret_value() == "hunter2"
    assert (len(secret), secret == Secret("hunter2"), bool(Secret(""))) == (7, True, True)
    assert len({secret, Secret("hunter2"), Secret()}) == 2


def test_input_tells_missing_from_none():
    assert Input().default is MISSING
    assert Input(...).default is MISSING
    assert Input(default=None).default is None
    assert repr(MISSING) == "MISSING"
    with pytest.raises(TypeError, match="default_factory"):
        Input(default_factory=list)


def test_types_stand_in_pydantic_models(tmp_path):
    class Model(pydantic.BaseModel):
        path: Path
        token: Secret
        file: File | None = None

    model = Model(path=tmp_path, token="t")
    assert model.path == tmp_path
    assert model.token == Secret("t")
    properties = Model.model_json_schema()["properties"]
    assert properties["path"] == {"type": "string", "format": "uri", "title": "Path"}
    assert properties["token"]["x-cog-secret"] is True
    with pytest.raises(pydantic.ValidationError):
        Model(path="not a url", token="t")


def test_marks():
    @cog.streaming
    def bare(): ...

    @cog.streaming()
    @cog.concurrent(max=3)
    def called(): ...

    assert bare.__cog_streaming__ is called.__cog_streaming__ is True
    assert called.__cog_concurrency__ == 3
    for wrong in (0, True, "2"):
        with pytest.raises(ValueError, match="whole number"):
            cog.concurrent(max=wrong)


@pytest.mark.parametrize("name", sorted(cog.__all__))
def test_everything_promised_is_there(name):
    assert getattr(cog, name) is not None


@pytest.mark.parametrize(
    ("module", "names"),
    [
        ("cog.types", "Path File Secret URLFile URLPath ConcatenateIterator Input ExperimentalFeatureWarning"),
        ("cog.predictor", "BasePredictor BaseRunner"),
        ("cog.base_predictor", "BasePredictor"),
        ("cog.input", "Input FieldInfo"),
        ("cog.model", "BaseModel"),
        ("cog.coder", "Coder json_coder dataclass_coder set_coder"),
        ("cog.exceptions", "CancelationException ExperimentalFeatureWarning"),
        ("cog.server.exceptions", "CancelationException"),
        ("cog.server.scope", "current_scope emit_metric Scope"),
        ("cog.files", "upload_file"),
    ],
)
def test_submodules_of_older_generations(module, names):
    found = importlib.import_module(module)
    for name in names.split():
        assert hasattr(found, name)
        if hasattr(cog, name):
            assert getattr(found, name) is getattr(cog, name)


def test_cancelation_escapes_a_broad_except():
    assert not issubclass(cog.CancelationException, Exception)


def test_upload_file_is_a_data_url(tmp_path):
    from cog.files import upload_file

    path = tmp_path / "a.txt"
    path.write_text("hello")
    with path.open() as file:
        file.read()
        assert upload_file(file) == "data:text/plain;base64,aGVsbG8="
    assert upload_file(io.BytesIO(b"")) == "data:application/octet-stream;base64,"


def test_an_abstract_coder_says_so():
    from cog.coder import Coder

    with pytest.raises(TypeError, match="does not encode int"):
        Coder().encode(1)
    with pytest.raises(TypeError, match="does not decode"):
        Coder().decode({})


def test_weights_of_older_releases_may_be_imported_and_annotate_a_setup():
    def setup(weights: Weights | None = None): ...

    assert typing.get_args(typing.get_type_hints(setup)["weights"]) == (File, Path, str, type(None))
