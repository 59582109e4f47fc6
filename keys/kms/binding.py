"""The context of a data key as bytes to authenticate, for backends that take bytes and not a mapping.

Invariant: a context is a set of names with values, so its order is nothing; two different contexts never give
the same bytes, nor does one context under two labels.
"""

from collections.abc import Mapping

from keys.framing import frame


def frame_context(label: bytes, context: Mapping[str, str]) -> bytes:
    fields = [part.encode() for name in sorted(context) for part in (name, context[name])]
    return frame(label, *fields)
