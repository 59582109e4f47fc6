"""The authorization server (OAuth 2), apart from HTTP: who a client is, what it may get, and what it gets.

Invariant: what is issued is short-lived, for one audience and one environment, and names no more than its client was
given. Every refusal is an `OAuthError`, in the words of RFC 6749 and its relatives.
"""
