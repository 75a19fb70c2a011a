"""The exceptions and warnings a model may meet; nothing here is raised for the platform's own failures."""


class CancelationException(BaseException):
    """Raised inside `run()` or `predict()` when the prediction is canceled; not an `Exception`, so that a model's
    broad `except Exception` does not swallow it. Clean up and let it pass.
    """


class ExperimentalFeatureWarning(FutureWarning):
    """Kept for models that filter it; nothing here warns with it."""
