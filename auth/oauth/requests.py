"""What comes to an endpoint of the authorization server that a client asks itself, whoever brought it there.

Nothing of it is trusted: a form that stands here has been read strictly, each parameter once and none of them empty,
and that is all that is known of it.
"""

from collections.abc import Mapping

import msgspec


class ClientCertificate(msgspec.Struct, frozen=True, kw_only=True):
    """Of the client's TLS connection, which proved that it holds the key. `thumbprint` is the `x5t#S256`."""

    thumbprint: str
    subject_dn: str = ""
    san_dns: tuple[str, ...] = ()
    san_uri: tuple[str, ...] = ()
    san_ip: tuple[str, ...] = ()
    san_email: tuple[str, ...] = ()


class TokenRequest(msgspec.Struct, frozen=True, kw_only=True):
    """`url` is the endpoint's own address as the metadata tells it. `source` is the address the client has here,
    `network` what limits count it by. Prints no value that came.
    """

    form: Mapping[str, str]
    source: str
    url: str
    now_ms: int
    network: str = ""
    method: str = "POST"
    authorization: str | None = None
    dpop: tuple[str, ...] = ()
    certificate: ClientCertificate | None = None
    request_id: str | None = None

    def __repr__(self) -> str:
        return f"TokenRequest({self.url})"
