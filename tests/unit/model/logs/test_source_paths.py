"""Places in source files as users see them."""

import pytest

from tidemill.model.logs.source_paths import shorten_source_paths

INSTANCE = "/srv/op/worker/instances/01kb8d3n5q9w2e4r6t8y0z1x2c"


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/models/mine/predict.py", "predict.py"),
        ("/models/mine/nets/unet.py", "nets/unet.py"),
        (f"{INSTANCE}/src/nets/unet.py", "nets/unet.py"),
        (f"{INSTANCE}/tmp/made.py", "made.py"),
        ("/srv/op/env/lib/python3.11/site-packages/torch/nn/modules/module.py", "torch/nn/modules/module.py"),
        ("/usr/lib/python3/dist-packages/yaml/__init__.py", "yaml/__init__.py"),
        ("/root/.pyenv/versions/3.12.1/lib/python3.12/json/decoder.py", "json/decoder.py"),
        ("/home/op/tidemill/libs/model/src/tidemill/model/values/encode.py", "tidemill/model/values/encode.py"),
        ("/home/op/tidemill/libs/cog/src/cog/_scope.py", "cog/_scope.py"),
        ("/elsewhere/of/the/operator/thing.py", "thing.py"),
    ],
)
@pytest.mark.parametrize(
    "form", ['  File "{}", line 7, in f\n', '  File "{}", line 7 in f\n', "{}:7: UserWarning: x\n"]
)
def test_a_place_is_told_from_where_its_reader_knows_it(path, name, form):
    text = "Traceback (most recent call last):\n" + form.format(path) + "    f()\n"
    assert shorten_source_paths(text, ["/models/mine"]) == text.replace(path, name)


@pytest.mark.parametrize(
    "text", ["saved /models/mine/predict.py\n", 'File "<string>", line 1\n', "/usr/bin/env\n", "see /a/b.py: it\n"]
)
def test_what_is_no_place_in_a_file_stays(text):
    assert shorten_source_paths(text, ["/models/mine"]) == text
