"""When, from where and how often each secret version was used: gathered in memory, written in batches.

Invariant: one entry per secret version, however many requests there are and however long the store is away. What could
not be written is kept and written later; if a commit's answer is lost its counts may be written twice.
Usage is no change of a key: it bumps no revision and wakes nobody.
"""

from collections.abc import Sequence
from itertools import batched
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from storage import engine, schema

# Small enough that writers of changes never wait long for a flush.
_BATCH: Final = 500
