"""One model with a door to each behaviour that the process tests look at."""

import ctypes
import os
import subprocess
import sys
import threading
import time

from cog import BasePredictor, CancelationException, Path, current_scope


class Predictor(BasePredictor):
    def setup(self) -> None:
        self.thread = threading.get_ident()
        self.calls = 0
        print("set up")

    def predict(self, do: str = "echo", text: str = "", seconds: float = 0.0) -> object:
        self.calls += 1
        return getattr(self, do)(text, seconds)

    def echo(self, text, seconds):
        return text

    def same_thread(self, text, seconds):
        return threading.get_ident() == self.thread and threading.current_thread() is threading.main_thread()

    def sleep(self, text, seconds):
        time.sleep(seconds)
        return text

    def spin(self, text, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            pass
        return text

    def swallow(self, text, seconds):
        try:
            time.sleep(seconds)
        except CancelationException:
            print("swallowed")
        return text

    def stubborn(self, text, seconds):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            try:
                time.sleep(0.01)
            except CancelationException:
                pass
        return text

    def fail(self, text, seconds):
        raise ValueError(text)

    def cancel_itself(self, text, seconds):
        raise CancelationException(*filter(None, [text]))

    def fail_empty(self, text, seconds):
        raise KeyError

    def leave(self, text, seconds):
        sys.exit(3)

    def die(self, text, seconds):
        print("last words")
        os._exit(int(text))

    def crash(self, text, seconds):
        ctypes.string_at(0)

    def memory(self, text, seconds):
        raise MemoryError

    def huge(self, text, seconds):
        return "x" * 9_000_000

    def nan(self, text, seconds):
        return float("nan")

    def say(self, text, seconds):
        print(text, end="")
        return None

    def say_err(self, text, seconds):
        print(text, file=sys.stderr)
        return None

    def say_c(self, text, seconds):
        ctypes.CDLL(None).printf(text.encode())
        return None

    def say_child(self, text, seconds):
        subprocess.run(["/bin/echo", text], check=True)
        return None

    def say_thread(self, text, seconds):
        thread = threading.Thread(target=print, args=(text,))
        thread.start()
        thread.join()
        return None

    def say_fork(self, text, seconds):
        pid = os.fork()
        if pid == 0:
            print(text)
            sys.stdout.flush()
            os._exit(0)
        os.waitpid(pid, 0)
        return None

    def bar(self, text, seconds):
        print("\r10%", end="")
        time.sleep(seconds)
        return None

    def metric(self, text, seconds):
        current_scope().record_metric("tokens", int(text))
        return current_scope().context.get("who")

    def file(self, text, seconds):
        path = Path(os.environ["TMPDIR"]) / "out.txt"
        path.write_text(text)
        return path

    def files(self, text, seconds):
        return [self._numbered(n) for n in range(int(text))]

    def _numbered(self, number):
        path = Path(os.environ["TMPDIR"]) / f"{number}.txt"
        path.write_text(str(number))
        return path

    def link(self, text, seconds):
        path = Path(os.environ["TMPDIR"]) / "link.txt"
        path.unlink(missing_ok=True)
        path.symlink_to(text)
        return path

    def pipe(self, text, seconds):
        path = Path(os.environ["TMPDIR"]) / "pipe"
        os.mkfifo(path)
        return path

    def environ(self, text, seconds):
        return dict(os.environ)

    def daemon(self, text, seconds):
        process = subprocess.Popen(["/bin/sleep", "1000"], start_new_session=True)
        return process.pid

    def numbers(self, text, seconds):
        numpy = sys.modules.get("numpy")
        return None if numpy is None else float(numpy.random.random())

    def run_as_code(self, text, seconds):
        exec(text, {})

    def probe(self, text, seconds):
        """Runs the text as code; says what became of it."""
        scope = {}
        try:
            exec(text, scope)
        except BaseException as error:
            return f"blocked: {type(error).__name__}: {error}"
        return scope.get("result", "escaped")
