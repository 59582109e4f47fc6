"""Checking a credential before it is stored: the same for the command line and for whoever else enters one.

Invariant: what passes would be served, and is for the environment of a configured upstream. Nothing of the secret is
in what is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gateway.credentials import forms
from gateway.settings import Settings
from keys import refusals
from keys.environment import parse_environment
from keys.secret import Secret
from keys.upstream_credentials import CredentialRequest, Form, Source


class UnknownUpstream(refusals.NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"no upstream {name!r:.80} is configured")


class WrongEnvironment(refusals.InvalidRequest):
    field = "environment"


def request_for(  # noqa: PLR0913  what is asked for, each by its name
    settings: Settings,
    upstream: str,
    *,
    form: Form,
    source: Source,
    details: Mapping[str, Any],
    environment: str | None = None,
) -> CredentialRequest:
    """`environment`: what whoever asks believes it to be; a paper credential is not entered for a live upstream."""
    configured = settings.upstreams.get(upstream)
    if configured is None:
        raise UnknownUpstream(upstream)
    if environment is not None and environment != configured.environment:
        raise WrongEnvironment(f"upstream {upstream} is a {configured.environment} one, not {environment}")
    parsed = forms.parse_details(form, details)
    if (parsed.secret_id is None) != (source == "local"):
        raise forms.InvalidCredential(
            "secret_id names a secret in AWS Secrets Manager, and goes with that source"
        )
    return CredentialRequest(
        upstream=upstream,
        environment=parse_environment(configured.environment),
        form=form,
        source=source,
        details=dict(details),
    )


def material_for(form: Form, text: Secret) -> Secret:
    """As it is to be sealed."""
    return forms.write_material(form, forms.parse_material(form, text))
