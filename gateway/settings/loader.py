"""Reads portreeve.toml and the policies it names, and returns settings only if all of it holds.

Refuses in three steps, each whole: what is no TOML, what has unknown keys or wrong types (all of them), what
does not agree (all of it). A failure of the policies is told together with the step it was found beside.
"""

import tomllib
from pathlib import Path
from typing import Any

import msgspec

from gateway import references
from gateway.settings.checks import find_faults
from gateway.settings.decode import decode_document
from gateway.settings.faults import Fault, SettingsError
from gateway.settings.values import ScannerSettings, ServiceSettings, Settings
from policies import document as policies_document


def load(path: Path) -> Settings:
    file = path.absolute()
    faults: list[Fault] = []
    document = _read(file)
    sections = _anchor_all(decode_document(document, faults), file.parent)
    policies = _load_policies(sections.get("service"), faults)
    if faults or policies is None:
        raise SettingsError(file.name, faults)
    settings = Settings(file=file, policies=policies, **sections)
    faults.extend(find_faults(settings))
    if faults:
        raise SettingsError(file.name, faults)
    return settings


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_bytes().decode("utf-8"))
    except OSError as failure:
        raise SettingsError(str(file), [Fault("", f"cannot be read: {failure.strerror}")]) from None
    except UnicodeDecodeError:
        raise SettingsError(file.name, [Fault("", "is not UTF-8 text")]) from None
    except tomllib.TOMLDecodeError as failure:
        raise SettingsError(file.name, [Fault("", f"is not TOML: {failure}")]) from None


def _load_policies(service: ServiceSettings | None, faults: list[Fault]) -> policies_document.Policies | None:
    if service is None:
        return None
    file = Path(service.policies)
    try:
        return policies_document.parse(file.read_bytes(), file.name)
    except policies_document.PolicyError as failure:
        place = failure.place.removeprefix(file.name).removeprefix(": ")
        faults.append(Fault(place, failure.problem, file.name))
    except OSError as failure:
        faults.append(Fault("service.policies", f"{file} cannot be read: {failure.strerror}"))
    return None


def _anchor_all(sections: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Make every relative path absolute, starting from the directory of the file."""
    anchored = {
        name: _anchor(section, directory) if isinstance(section, msgspec.Struct) else section
        for name, section in sections.items()
    }
    if "upstreams" in sections:
        anchored["upstreams"] = {
            name: upstream if upstream is None else _anchor(upstream, directory)
            for name, upstream in sections["upstreams"].items()
        }
    if "scanners" in sections:
        anchored["scanners"] = {
            name: scanner if scanner is None else _anchor_keys(scanner, directory)
            for name, scanner in sections["scanners"].items()
        }
    if sections.get("oauth") is not None:
        oauth = sections["oauth"]
        issuers = tuple(_anchor(issuer, directory) for issuer in oauth.issuers)
        anchored["oauth"] = msgspec.structs.replace(anchored["oauth"], issuers=issuers)
    if "audit" in sections and sections["audit"] is not None:
        audit = sections["audit"]
        sinks = tuple(_anchor(sink, directory) for sink in audit.sinks)
        anchored["audit"] = msgspec.structs.replace(audit, sinks=sinks)
    return anchored


# Left as they are, for the checks to refuse.
_NOT_FILES = frozenset({"", ":memory:"})
_PATHS = frozenset(
    {
        "state_dir",
        "policies",
        "ca_file",
        "cert_file",
        "client_ca_file",
        "client_cert_file",
        "self_signed_file",
        "path",
        "jwks_file",
        "key_ca_file",
    }
)
_REFERENCES = frozenset(
    {"password", "master_key", "passphrase", "client_key", "pin", "private_key", "smtp_password"}
)


def _anchor(table: Any, directory: Path) -> Any:  # noqa: ANN401  any table, and the same kind of table back
    changes: dict[str, Any] = {}
    for name in table.__struct_fields__:
        value = getattr(table, name)
        if isinstance(value, msgspec.Struct):
            changes[name] = _anchor(value, directory)
        elif name == "previous":
            changes[name] = tuple(_anchor(each, directory) for each in value)
        elif isinstance(value, str):
            changes[name] = _anchor_text(name, value, directory)
    return msgspec.structs.replace(table, **changes)


def _anchor_keys(scanner: ScannerSettings, directory: Path) -> ScannerSettings:
    return ScannerSettings(keys={key_id: str(directory / file) for key_id, file in scanner.keys.items()})


def _anchor_text(name: str, text: str, directory: Path) -> str:
    if name in _PATHS:
        return str(directory / text)
    if name in _REFERENCES:
        return references.anchor(text, directory)
    scheme, _, rest = text.partition(":")
    if name == "url" and scheme == "sqlite" and rest not in _NOT_FILES and not rest.startswith("/"):
        return f"{scheme}:{directory / rest}"
    return text
