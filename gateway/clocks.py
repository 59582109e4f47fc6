"""The clocks of this process, read here and handed on as arguments.

Wall time for what others date: timestamps, expiry, the audit. Monotonic time for ages and for what is counted here: a
wall clock that steps must neither make what is old look new nor lock anybody out.
"""

from __future__ import annotations

import time


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


def monotonic_us() -> int:
    return time.monotonic_ns() // 1_000


# Read with every request, and so without a call of our own around it.
monotonic_ns = time.monotonic_ns
