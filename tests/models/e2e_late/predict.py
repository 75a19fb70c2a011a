"""A thread, a process and half a character of one prediction go on into the next."""

import os
import subprocess
import threading
import time

from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.said = threading.Event()

    def predict(
        self,
        text: str = Input(description="Printed, now and a second after the end"),
        leave: bool = Input(default=False, description="Whether something goes on"),
    ) -> str:
        if leave:
            self.said.clear()
            threading.Thread(target=self.say_late, args=(text,), daemon=True).start()
            subprocess.Popen(["/bin/sh", "-c", f"sleep 1; echo late {text} of a process"])
            os.write(1, b"half \xc3")
        else:
            self.said.wait(60)
            time.sleep(0.5)
        print("now", text)
        return text

    def say_late(self, text: str) -> None:
        time.sleep(1)
        print("late", text, "of a thread")
        self.said.set()
