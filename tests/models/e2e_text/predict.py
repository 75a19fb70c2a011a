"""Answers with its input, so that a mixed-up answer shows."""

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        text: str = Input(description="Sent back in brackets"),
        times: int = Input(default=1, ge=1, le=9, description="How often"),
    ) -> str:
        return f"[{text}]" * times
