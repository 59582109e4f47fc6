"""A secret with one character wrong."""


def last(secret: str) -> str:
    """Another text than what was given, whatever that ends with: one fixed letter would be right now and then."""
    return secret[:-1] + ("x" if secret[-1] != "x" else "y")
