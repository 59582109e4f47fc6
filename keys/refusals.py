"""The families of refusal in this room, for callers that need not tell their members apart.

Every failure has a name of its own below one of them. None of them carries anything secret.
"""


class InvalidRequest(ValueError):
    """What was asked for could never be done; `field` says which part of it is wrong."""

    field: str = ""


class NotFound(LookupError):
    pass


class Conflict(Exception):
    """What was asked for does not fit the present state of what it is about."""
