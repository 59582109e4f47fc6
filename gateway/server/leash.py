"""Keeps children from outliving their parent, however it ends: it holds the other end of their standard input."""

import os
import signal
import sys
import threading


def hold() -> None:
    """From now on the end of standard input asks this process to stop, as SIGTERM would."""
    threading.Thread(target=_wait, name="leash", daemon=True).start()


def _wait() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
