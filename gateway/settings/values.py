"""What portreeve.toml can say: one frozen value a table, every default written once, here.

Invariant: a value here has the right type and range for itself; whether values agree with one another is
`checks`' concern, and `loader.load` returns only settings that passed both. Relative paths are absolute once
loaded. Secrets never stand here: fields that lead to one hold a reference (`gateway.references`).
"""

from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from keys.register import Domain
from keys.schedules import ScheduledKind
from policies import limits as limit_specs
from policies.document import Policies
from policies.gcra import Limit
from policies.limits import LimitSpec

Positive = Annotated[int, Meta(ge=1)]
NotNegative = Annotated[int, Meta(ge=0)]
Port = Annotated[int, Meta(ge=0, le=65_535)]


class Table(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A table of the file. Unknown keys are errors, so that a misspelt limit is never a missing one."""


class ServiceSettings(Table, frozen=True):
    issuer: str
    docs_base: str
    state_dir: str = "."
    policies: str = "policies.toml"


class ServerTlsSettings(Table, frozen=True):
    """The node's own TLS, on every port of it. What a client's certificate has to lead to, or to be, is in two files:
    authorities, and certificates that vouch for themselves alone.
    """

    cert_file: str
    private_key: str
    client_certificates: Literal["off", "optional"] = "off"
    client_ca_file: str | None = None
    self_signed_file: str | None = None


class ServerSettings(Table, frozen=True):
    host: str = "127.0.0.1"
    port: Port = 8080
    workers: Positive = 1
    trusted_proxies: tuple[str, ...] = ()
    max_connections: Positive = 10_000
    header_timeout_ms: Positive = 10_000
    body_timeout_ms: Positive = 30_000
    keep_alive_ms: Positive = 75_000
    max_header_bytes: Positive = 32_768
    max_headers: Positive = 100
    max_target_bytes: Positive = 8_192
    body_budget_bytes: Positive = 268_435_456
    drain_ms: NotNegative = 5_000
    tls: ServerTlsSettings | None = None


class ControlSettings(Table, frozen=True):
    """Where the control surface listens, apart from partners: /metrics, /control and /console."""

    port: Annotated[int, Meta(ge=1, le=65_535)]
    host: str = "127.0.0.1"


class StorageSettings(Table, frozen=True):
    url: str
    password: str | None = None
    pool_size: Positive = 5


class RedisTlsSettings(Table, frozen=True):
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key: str | None = None


class RedisSettings(Table, frozen=True):
    url: str
    password: str | None = None
    cluster: bool = False
    timeout_ms: Positive = 250
    tls: RedisTlsSettings | None = None


class KmsKeySettings(Table, frozen=True):
    """One key that wraps data keys. Which of these belong to which backend is `kms_checks`' to say."""

    backend: Literal["local", "aws", "pkcs11"] = "local"
    master_key: str | None = None
    passphrase: str | None = None
    key: str | None = None
    endpoint: str | None = None
    module: str | None = None
    hsm: str | None = None
    pin: str | None = None
    timeout_ms: Annotated[int, Meta(ge=100, le=60_000)] = 5_000


class KmsSettings(KmsKeySettings, frozen=True):
    second: KmsKeySettings | None = None
    previous: tuple[KmsKeySettings, ...] = ()
    soft_lifetime_ms: NotNegative = 300_000
    hard_lifetime_ms: NotNegative = 86_400_000


class SigningSettings(Table, frozen=True):
    window_ms: Positive = 30_000
    max_window_ms: Annotated[int, Meta(ge=1, le=60_000)] = 60_000
    future_skew_ms: Annotated[int, Meta(ge=0, le=1_000)] = 1_000
    signature_check: tuple[str, ...] = ("paper",)


class KeysSettings(Table, frozen=True):
    poll_ms: Annotated[int, Meta(ge=10, le=1_000)] = 250
    staleness_bound_ms: Positive = 30_000
    flush_usage_ms: Positive = 5_000
    heartbeat_ms: Annotated[int, Meta(ge=100, le=60_000)] = 2_000


class ScheduleSettings(Table, frozen=True):
    """Of one kind of secret; without an environment, in every one that has no table of its own. What is absent is as
    by default of the kind (`keys.schedules`).
    """

    kind: ScheduledKind
    environment: Domain | None = None
    max_age: str | None = None
    overlap: str | None = None
    longest_overlap: str | None = None
    warn_ahead: tuple[str, ...] | None = None
    destroy_after: str | None = None
    announce_ahead: str | None = None
    auto: bool | None = None


class RotationSettings(Table, frozen=True):
    """`guard`: a version that was used within so long is not ended unless that is said."""

    scheduler: bool = True
    check_ms: Annotated[int, Meta(ge=100, le=600_000)] = 5_000
    guard: str = "24h"
    schedules: tuple[ScheduleSettings, ...] = ()


class IdentitySettings(Table, frozen=True):
    lifetime_ms: Annotated[int, Meta(ge=1_000, le=30_000)] = 30_000
    reuse_ms: Annotated[int, Meta(ge=0, le=10_000)] = 10_000


class IssuerSettings(Table, frozen=True):
    """Another issuer whose access tokens are taken (`oauth.issuers`), and what they come to here.

    Its keys are fetched from `jwks_url`, or read once from `jwks_file`. `claim` names the claim that holds what
    `roles` maps to roles of ours; whoever has none of them is refused.
    """

    issuer: str
    audience: str
    partner: str
    environment: Literal["paper", "live"]
    roles: dict[str, tuple[str, ...]]
    claim: str = "roles"
    jwks_url: str | None = None
    jwks_file: str | None = None
    algorithms: tuple[Literal["ES256", "PS256", "RS256", "EdDSA"], ...] = ("ES256", "PS256", "EdDSA")
    types: tuple[str, ...] = ("at+jwt",)
    bearer: bool = False
    max_age_ms: Annotated[int, Meta(ge=1_000)] = 3_600_000


class OAuthLimitSettings(Table, frozen=True):
    """How often the authorization server may be asked: by one source, or by one client."""

    rate: int = 50
    per: str = "1s"
    burst: int = 500

    def as_limit(self, name: str) -> Limit:
        return limit_specs.build(name, LimitSpec(rate=self.rate, per=self.per, burst=self.burst))


class OAuthSettings(Table, frozen=True):
    """The authorization server, and what the gateway takes of its tokens. `resources`: what tokens are for; the first
    where a client names none. Absent, it is the issuer itself. `lifetime_ms` is an access token's.

    `origins`: by which routes are reached, beside those of the issuer and the resources: a DPoP proof names one.
    `route_nonces`: whether such a proof has to hold a nonce of ours on routes, too. `key_networks` and `key_ca_file`:
    where key sets of others may be fetched from although it is not public, and whom their servers are certified by.
    """

    resources: tuple[str, ...] = ()
    signing_algorithm: Literal["ES256", "EdDSA"] = "ES256"
    lifetime_ms: Annotated[int, Meta(ge=60_000, le=600_000)] = 300_000
    request_lifetime_ms: Annotated[int, Meta(ge=5_000, le=600_000)] = 90_000
    code_lifetime_ms: Annotated[int, Meta(ge=5_000, le=60_000)] = 60_000
    refresh_lifetime_ms: Annotated[int, Meta(ge=60_000)] = 30 * 86_400_000
    device_lifetime_ms: Annotated[int, Meta(ge=60_000, le=1_800_000)] = 600_000
    registration: bool = False
    client_certificate_header: str | None = None
    origins: tuple[str, ...] = ()
    route_nonces: bool = False
    key_networks: tuple[str, ...] = ()
    key_ca_file: str | None = None
    source_limit: OAuthLimitSettings = OAuthLimitSettings()
    client_limit: OAuthLimitSettings = OAuthLimitSettings()
    issuers: tuple[IssuerSettings, ...] = ()


class PeopleSettings(Table, frozen=True):
    """Those who sign in. `relying_party`: the domain that passkeys are made for; absent, the issuer's host.

    `mail`: `outbox` writes mails into the state directory and the log; `smtp` sends them by the server named here.
    """

    idle_ms: Annotated[int, Meta(ge=60_000)] = 1_800_000
    absolute_ms: Annotated[int, Meta(ge=60_000)] = 43_200_000
    step_up_ms: Annotated[int, Meta(ge=10_000)] = 300_000
    invitation_ms: Annotated[int, Meta(ge=60_000)] = 7 * 86_400_000
    reset_ms: Annotated[int, Meta(ge=60_000)] = 1_800_000
    relying_party: str | None = None
    mail: Literal["outbox", "smtp"] = "outbox"
    mail_from: str = "portreeve@localhost"
    smtp_url: str | None = None
    smtp_password: str | None = None


class WebhooksSettings(Table, frozen=True):
    """`retry_after_s`: after each failed attempt the next one is so much later; after the last it is over."""

    deliver: bool = True
    allowed_networks: tuple[str, ...] = ()
    allowed_ports: tuple[Annotated[int, Meta(ge=1, le=65_535)], ...] = ()
    allow_http_loopback: bool = False
    ca_file: str | None = None
    connect_ms: Positive = 3_000
    total_ms: Annotated[int, Meta(ge=1, le=60_000)] = 15_000
    poll_ms: Annotated[int, Meta(ge=50, le=60_000)] = 1_000
    concurrency: Positive = 64
    per_partner: Positive = 4
    retry_after_s: tuple[Positive, ...] = (5, 30, 120, 600, 3_600, 10_800, 21_600, 43_200)
    disable_after: Positive = 5
    keep_days: Positive = 30


class SinkSettings(Table, frozen=True):
    """Where entries of the ledger are copied to. Which keys belong to which kind is `checks`' concern."""

    name: str
    kind: Literal["file", "redis", "kafka"]
    from_start: bool = True
    path: str | None = None
    stream: str | None = None
    max_length: Positive | None = None
    brokers: tuple[str, ...] = ()
    topic: str | None = None
    tls: RedisTlsSettings | None = None


class AuditSettings(Table, frozen=True):
    """When checkpoints are due, and who follows the ledger."""

    checkpoint_entries: Annotated[int, Meta(ge=1, le=100_000)] = 500
    checkpoint_ms: Annotated[int, Meta(ge=1_000, le=86_400_000)] = 60_000
    sink_poll_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1_000
    sinks: tuple[SinkSettings, ...] = ()


class SourceLimitSettings(Table, frozen=True):
    rate: int = 500
    per: str = "1s"
    burst: int = 1_000

    def as_limit(self) -> Limit:
        return limit_specs.build("source", LimitSpec(rate=self.rate, per=self.per, burst=self.burst))


class SecretsManagerSettings(Table, frozen=True):
    """AWS Secrets Manager, for upstream credentials that lie there. Who we are to AWS is boto3's to find."""

    region: str | None = None
    endpoint_url: str | None = None
    poll_ms: Annotated[int, Meta(ge=1_000)] = 60_000
    timeout_ms: Positive = 5_000


class UpstreamTlsSettings(Table, frozen=True):
    ca_file: str | None = None
    client_cert_file: str | None = None
    client_key: str | None = None
    server_name: str | None = None


class UpstreamSettings(Table, frozen=True):
    url: str
    environment: str
    max_connections: Positive = 64
    max_waiting: NotNegative = 1_024
    keep_alive_ms: Positive = 30_000
    requires_credential: bool = False
    tls: UpstreamTlsSettings | None = None


class TimeoutSettings(Table, frozen=True):
    connect_ms: Positive = 1_000
    first_byte_ms: Positive = 10_000
    idle_ms: Positive = 10_000
    total_ms: Positive = 30_000


class RouteSettings(Table, frozen=True):
    name: str
    methods: tuple[str, ...]
    path: str
    environment: str
    upstream: str
    host: str | None = None
    permission: str | None = None
    public: bool = False
    cost: Positive = 1
    limits: tuple[str, ...] = ()
    strip_prefix: str = ""
    max_body_bytes: NotNegative = 65_536
    timeouts: TimeoutSettings = TimeoutSettings()
    bind_request: bool = False


class ScannerSettings(Table, frozen=True):
    """An outside scanner that reports found credentials. `keys`: its public keys' files, by the id it names them by."""

    keys: dict[str, str]


class Settings(Struct, frozen=True, kw_only=True):
    """The whole configuration, with the policies it names. `file` is where it was read, absolute."""

    file: Path
    policies: Policies
    service: ServiceSettings
    storage: StorageSettings
    kms: KmsSettings
    server: ServerSettings = ServerSettings()
    control: ControlSettings | None = None
    redis: RedisSettings | None = None
    signing: SigningSettings = SigningSettings()
    keys: KeysSettings = KeysSettings()
    rotation: RotationSettings = RotationSettings()
    identity: IdentitySettings = IdentitySettings()
    oauth: OAuthSettings = OAuthSettings()
    people: PeopleSettings = PeopleSettings()
    audit: AuditSettings = AuditSettings()
    source_limit: SourceLimitSettings = SourceLimitSettings()
    webhooks: WebhooksSettings = WebhooksSettings()
    secrets_manager: SecretsManagerSettings = SecretsManagerSettings()
    limits: dict[str, LimitSpec] = {}
    upstreams: dict[str, UpstreamSettings] = {}
    scanners: dict[str, ScannerSettings] = {}
    routes: tuple[RouteSettings, ...] = ()
