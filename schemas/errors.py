"""Every error that leaves the process it was raised in.

LifelogError
├── Invalid                the request makes no sense as it stands
│   ├── InvalidBody            malformed JSON, an unknown field or a wrong type
│   ├── InvalidSetting         a setting that is unknown or has a wrong value
│   ├── InvalidPosition        a `Lifelog-Position` or SSE id that cannot be read
│   ├── TooLarge               a body or a text over its limit
│   ├── NotText                bytes that are not UTF-8 text
│   ├── MethodNotAllowed       an address that does not take the method
│   ├── InvalidSheet           a recovery sheet with a misread or missing line
│   ├── InvalidPolicy          a number of a pool's configuration that is unknown or wrong
│   └── UnsupportedConfig      a training configuration that no pool can run
├── Unauthenticated        nobody is logged in, or the token is unknown or over
├── Forbidden              logged in, but the role does not allow it
│   └── CrossSite              a page of another site sent the request
├── RateLimited            more requests in a minute than the caller may send
├── NotFound               no such thing, or it is not the caller's
├── Refused                the request makes sense, the answer is no
│   ├── KeyReused              the same Idempotency-Key with another body
│   ├── JobAlreadyOver         a job that has ended cannot be changed
│   ├── AlreadyExists          the id is taken
│   ├── DuplicateJob           a job with this dedupe key is not over yet
│   ├── VersionConflict        the job has changed since the caller read it
│   ├── WrongState             the job's state does not allow it
│   ├── OverBudget             it can cost more than the person may spend in a month
│   ├── DependencyFailed       a job that it waits for has not succeeded
│   ├── StaleReport            a report that quotes a superseded fencing token
│   ├── ForgedCommand          a command whose MAC or issuer does not hold
│   ├── RevisionConflict       the named parent is not the newest revision
│   ├── PositionExpired        a position older than what the log still keeps
│   ├── PlaintextRefused       a person's text would reach a disk in the clear
│   └── SupersededOwner        another process took over the work of this one
├── NotBuilt               a part that does not exist yet
├── Unavailable            a server we need does not answer; try again
│   ├── LogUnavailable         Kafka
│   ├── DatabaseUnavailable    Postgres
│   ├── InferenceUnavailable   the inference process
│   ├── StorageUnavailable     the folder of artifacts or secrets
│   └── NotCaughtUp            the projection has not reached the position in time
├── RunFailed              an attempt of a job ended without its adapter
│   ├── NotEnoughData          too few words to train on
│   ├── CheckpointCorrupt      a checkpoint whose bytes are not what was stored
│   ├── OutOfMemory            the device or the machine ran out of memory
│   ├── ChildDied              the training process ended without a word
│   ├── TimedOut               the attempt ran past its limit
│   ├── GpuIdle                the attempt's GPU did nothing for too long
│   └── BaseUnavailable        the base model is not there or is not what its digest says
├── Damaged                what is stored is not what was written
│   ├── ArtifactCorrupt        bytes that do not match their digest
│   ├── ArtifactMissing        no artifact of this digest
│   ├── KeyDestroyed           the key was erased: the text cannot be read again
│   ├── KeyMissing             no such key: the table of keys is not the one it was stored in
│   ├── WrongKey               the key-encryption key does not open the stored keys
│   ├── SealBroken             a sealed text or key that was changed or moved
│   ├── BackupCorrupt          a key backup that was changed or cut short
│   ├── RecordCorrupt          a record that no schema reads
│   ├── ParquetCorrupt         a Parquet file that was changed or cut short
│   ├── ClusterChanged         a topic was recreated: its history is not ours
│   └── AuditBroken            the audit is not what was signed for
└── SetupFailed            the local stack cannot start
    ├── PortInUse              a port is taken
    ├── HomeInUse              a stack already runs on this home
    ├── JarMismatch            a broker file does not match its pinned digest
    ├── JarsUnavailable        a broker file is missing and cannot be fetched
    ├── ServerFailed           an embedded server did not come up
    ├── FolderUnreadable       a folder of memories cannot be read
    ├── SecretExposed          a secret that other accounts can read
    └── SecretUnreadable       a secret that is not 32 bytes in base64

`code` is part of the API: clients, events and `docs/errors.md` carry it, so it never changes.
The HTTP status of each class is in `web.errors`, and nowhere else.
"""

from schemas.faults.base import LifelogError
from schemas.faults.damage import (
    ArtifactCorrupt,
    ArtifactMissing,
    AuditBroken,
    BackupCorrupt,
    ClusterChanged,
    Damaged,
    KeyDestroyed,
    KeyMissing,
    ParquetCorrupt,
    RecordCorrupt,
    SealBroken,
    WrongKey,
)
from schemas.faults.running import (
    BaseUnavailable,
    CheckpointCorrupt,
    ChildDied,
    GpuIdle,
    NotEnoughData,
    OutOfMemory,
    RunFailed,
    TimedOut,
)
from schemas.faults.starting import (
    FolderUnreadable,
    HomeInUse,
    JarMismatch,
    JarsUnavailable,
    PortInUse,
    SecretExposed,
    SecretUnreadable,
    ServerFailed,
    SetupFailed,
)

__all__ = [  # given on from `schemas.faults`; what is defined here needs no mention
    "ArtifactCorrupt",
    "ArtifactMissing",
    "AuditBroken",
    "BackupCorrupt",
    "BaseUnavailable",
    "CheckpointCorrupt",
    "ChildDied",
    "ClusterChanged",
    "Damaged",
    "FolderUnreadable",
    "GpuIdle",
    "HomeInUse",
    "JarMismatch",
    "JarsUnavailable",
    "KeyDestroyed",
    "KeyMissing",
    "LifelogError",
    "NotEnoughData",
    "OutOfMemory",
    "ParquetCorrupt",
    "PortInUse",
    "RecordCorrupt",
    "RunFailed",
    "SealBroken",
    "SecretExposed",
    "SecretUnreadable",
    "ServerFailed",
    "SetupFailed",
    "TimedOut",
    "WrongKey",
]


class Invalid(LifelogError):
    """The request makes no sense as it stands."""

    code = "invalid"


class InvalidBody(Invalid):
    """The body or the query is not what this address takes."""

    code = "invalid-body"


class InvalidSetting(Invalid):
    """A setting is unknown or has a wrong value."""

    code = "invalid-setting"


class InvalidPosition(Invalid):
    """The position cannot be read: quote one that this server gave."""

    code = "invalid-position"


class TooLarge(Invalid):
    """The body or a text in it is over its limit."""

    code = "too-large"


class NotText(Invalid):
    """The bytes are not UTF-8 text."""

    code = "not-text"


class InvalidSheet(Invalid):
    """A line of the recovery sheet is missing or misread: compare it with the paper."""

    code = "invalid-recovery-sheet"


class MethodNotAllowed(Invalid):
    """The address does not take this method."""

    code = "method-not-allowed"


class InvalidPolicy(Invalid):
    """A number of the pool's configuration is unknown or out of its range."""

    code = "invalid-policy"


class UnsupportedConfig(Invalid):
    """No pool can run this training configuration."""

    code = "unsupported-config"


class Unauthenticated(LifelogError):
    """Log in, or send a bearer token that is still valid."""

    code = "unauthenticated"


class Forbidden(LifelogError):
    """The caller's role does not allow this."""

    code = "forbidden"


class CrossSite(Forbidden):
    """A page of another site sent the request with the session of this one."""

    code = "cross-site"


class RateLimited(LifelogError):
    """The caller has sent too many requests of this kind: wait, then send it again."""

    code = "rate-limited"
    retryable = True

    def __init__(self, detail: str = "", /, *, after_s: float = 1.0) -> None:
        super().__init__(detail)
        self.after_s = after_s  # when the next one may come


class NotFound(LifelogError):
    """There is no such thing, or it is not the caller's."""

    code = "not-found"


class Refused(LifelogError):
    """The request makes sense, and the answer is no."""

    code = "refused"


class KeyReused(Refused):
    """The Idempotency-Key was used for another body: send a new key."""

    code = "idempotency-key-reused"


class JobAlreadyOver(Refused):
    """The job has ended and cannot be changed."""

    code = "job-already-over"


class AlreadyExists(Refused):
    """The id is taken."""

    code = "already-exists"


class DuplicateJob(Refused):
    """A job with this dedupe key is not over yet: follow that one, or choose another key."""

    code = "duplicate-job"


class VersionConflict(Refused):
    """The job has changed since you read it: read it again, then decide."""

    code = "version-conflict"


class WrongState(Refused):
    """The job's state does not allow this."""

    code = "wrong-state"


class OverBudget(Refused):
    """The job can cost more than its person may spend in a month."""

    code = "over-budget"


class DependencyFailed(Refused):
    """A job that this one waits for has not succeeded."""

    code = "dependency-failed"


class StaleReport(Refused):
    """The report quotes a fencing token that is not the current one."""

    code = "stale-report"


class ForgedCommand(Refused):
    """The command's MAC does not hold, or its issuer may not send this kind."""

    code = "forged-command"


class RevisionConflict(Refused):
    """The named parent is not the newest revision: read the entry again."""

    code = "revision-conflict"


class PositionExpired(Refused):
    """The position is older than what is kept: begin at the earliest that is."""

    code = "position-expired"

    def __init__(self, detail: str = "", /, *, earliest: str = "") -> None:
        super().__init__(detail)
        self.earliest = earliest  # in the form of the position that was refused


class PlaintextRefused(Refused):
    """A text of a person would reach a disk in the clear."""

    code = "plaintext-refused"


class SupersededOwner(Refused):
    """Another process took over this one's work: this one stops."""

    code = "superseded-owner"


class NotBuilt(LifelogError):
    """The part does not exist yet."""

    code = "not-built"


class Unavailable(LifelogError):
    """A server that is needed does not answer: try again in a moment."""

    code = "unavailable"
    retryable = True


class LogUnavailable(Unavailable):
    """Kafka does not answer: try again in a moment, with the same Idempotency-Key."""

    code = "log-unavailable"


class DatabaseUnavailable(Unavailable):
    """Postgres does not answer: try again in a moment."""

    code = "database-unavailable"


class InferenceUnavailable(Unavailable):
    """The inference process does not answer: try again in a moment."""

    code = "inference-unavailable"


class StorageUnavailable(Unavailable):
    """The folder cannot be written or read: free some space or check its owner."""

    code = "storage-unavailable"


class NotCaughtUp(Unavailable):
    """The tables have not reached the position within 2 s: try again in a moment."""

    code = "not-caught-up"


def every_error() -> dict[str, type[LifelogError]]:
    """Each class by its code.

    Raises:
        ValueError: If two classes share a code.
    """
    found: dict[str, type[LifelogError]] = {}
    waiting: list[type[LifelogError]] = [LifelogError]
    while waiting:
        kind = waiting.pop()
        if kind.code in found:
            raise ValueError(f"{kind.__name__} and {found[kind.code].__name__} share {kind.code}")
        found[kind.code] = kind
        waiting.extend(kind.__subclasses__())
    return found
