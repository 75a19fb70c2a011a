"""Where older models import things from."""

from cog import BaseModel, BasePredictor, BaseRunner, ExperimentalFeatureWarning, File, Input, Path, Secret  # noqa: F401
from cog.base_predictor import BasePredictor as Base
from cog.coder import Coder, json_coder  # noqa: F401
from cog.exceptions import CancelationException as First
from cog.files import get_filename
from cog.input import FieldInfo, Input as OtherInput  # noqa: F401
from cog.model import BaseModel as OtherModel
from cog.predictor import BasePredictor as OtherBase
from cog.server.exceptions import CancelationException as Second
from cog.types import URLFile, URLPath, ConcatenateIterator, Path as OtherPath  # noqa: F401

import cog


class Predictor(Base):
    def predict(self, url: str = OtherInput(description="A URL that stays a text")) -> list:
        same = First is Second is cog.CancelationException and OtherModel is BaseModel and OtherPath is Path
        return [same and Base is OtherBase is BasePredictor, get_filename(url)]
