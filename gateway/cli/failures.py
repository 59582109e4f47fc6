"""The failures that a command explains in a line: each has a name, and a message that holds no secret."""

from typing import Final

from auth.people import mail
from gateway import initialise, operations, references, settings, upstream
from gateway.ledger.sinks import kafka
from gateway.server import listening, supervise
from keys import bindings, checkpoint_memory, envelope, evidence, kms, refusals, ring, shown
from keys.kms import master_key, pkcs11
from policies import document
from storage import chain, engine, location, migrate, redis

KNOWN: Final[tuple[type[Exception], ...]] = (
    settings.SettingsError,
    references.UnresolvedReference,
    upstream.TlsSettingsRefused,
    document.PolicyError,
    document.UnknownName,
    document.NotGranted,
    engine.StorageUnavailable,
    engine.StorageFileExposed,
    migrate.SchemaMismatch,
    redis.RedisUnavailable,
    redis.InvalidRedisSettings,
    location.InvalidStorageUrl,
    refusals.InvalidRequest,
    refusals.NotFound,
    refusals.Conflict,
    operations.PermissionMissing,
    operations.EnvironmentForeign,
    operations.RoleMissing,
    ring.RingUnusable,
    envelope.EnvelopeRefused,
    kms.KmsUnavailable,
    kms.KmsRefused,
    bindings.UnknownBinding,
    pkcs11.HsmKeyExists,
    master_key.MasterKeyMissing,
    master_key.MasterKeyExists,
    master_key.MasterKeyExposed,
    master_key.MasterKeyMalformed,
    master_key.PassphraseNeeded,
    master_key.PassphraseNeedless,
    master_key.PassphraseRefused,
    initialise.MasterKeyLost,
    chain.Broken,
    checkpoint_memory.MemoryUnreadable,
    kafka.KafkaMissing,
    mail.MailNotSent,
    listening.AddressTaken,
    supervise.WorkerFailed,
    OSError,
)


def explain(error: Exception) -> str:
    match error:
        case OSError(filename=str() as name, strerror=str() as problem):
            return f"{shown.mask_path(name)}: {problem}"
        case master_key.MasterKeyMissing():
            return f"{shown.mask(str(error))}: restore it, or, if it is a new one, let `portreeve kms create` make it"
        case evidence.StillUsed():
            return f"{shown.mask(str(error))}. `--even-if-used` ends it all the same"
        case mail.MailNotSent():
            return f"{error}: the account is there, and `portreeve people reset` sends its link again"
        case _:
            return shown.mask(str(error)) or type(error).__name__
