"""The configuration: `load` reads, checks and returns it whole, or says everything that is wrong with it."""

from gateway.settings.addresses import Network, UpstreamAddress, parse_network, parse_upstream
from gateway.settings.faults import Fault, SettingsError
from gateway.settings.loader import load
from gateway.settings.rotation import build_schedules
from gateway.settings.values import (
    AuditSettings,
    ControlSettings,
    IdentitySettings,
    IssuerSettings,
    KeysSettings,
    KmsKeySettings,
    KmsSettings,
    OAuthSettings,
    PeopleSettings,
    RedisSettings,
    RedisTlsSettings,
    RotationSettings,
    RouteSettings,
    ScheduleSettings,
    SecretsManagerSettings,
    ServerSettings,
    ServerTlsSettings,
    ServiceSettings,
    Settings,
    SigningSettings,
    SinkSettings,
    SourceLimitSettings,
    StorageSettings,
    TimeoutSettings,
    UpstreamSettings,
    UpstreamTlsSettings,
    WebhooksSettings,
)

__all__ = [
    "AuditSettings",
    "ControlSettings",
    "Fault",
    "IdentitySettings",
    "IssuerSettings",
    "KeysSettings",
    "KmsKeySettings",
    "KmsSettings",
    "Network",
    "OAuthSettings",
    "PeopleSettings",
    "RedisSettings",
    "RedisTlsSettings",
    "RotationSettings",
    "RouteSettings",
    "ScheduleSettings",
    "SecretsManagerSettings",
    "ServerSettings",
    "ServerTlsSettings",
    "ServiceSettings",
    "Settings",
    "SettingsError",
    "SigningSettings",
    "SinkSettings",
    "SourceLimitSettings",
    "StorageSettings",
    "TimeoutSettings",
    "UpstreamAddress",
    "UpstreamSettings",
    "UpstreamTlsSettings",
    "WebhooksSettings",
    "build_schedules",
    "load",
    "networks",
    "parse_network",
    "parse_upstream",
]


def networks(texts: tuple[str, ...]) -> tuple[Network, ...]:
    return tuple(parse_network(text) for text in texts)
