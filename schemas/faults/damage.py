"""What is stored is not what was written."""

from schemas.faults.base import LifelogError


class Damaged(LifelogError):
    """What is stored is not what was written."""

    code = "damaged"


class ArtifactCorrupt(Damaged):
    """The artifact's bytes do not match its digest."""

    code = "artifact-corrupt"


class ArtifactMissing(Damaged):
    """There is no artifact of this digest."""

    code = "artifact-missing"


class KeyDestroyed(Damaged):
    """The key was erased: the text cannot be read again."""

    code = "key-destroyed"


class KeyMissing(Damaged):
    """There is no such key: restore the backup of the keys."""

    code = "key-missing"


class WrongKey(Damaged):
    """The key-encryption key does not open the stored keys."""

    code = "wrong-key"


class SealBroken(Damaged):
    """The sealed text or key was changed, or moved from where it was sealed."""

    code = "seal-broken"


class BackupCorrupt(Damaged):
    """The backup of the keys was changed or cut short: use another copy."""

    code = "backup-corrupt"


class RecordCorrupt(Damaged):
    """No schema reads this record."""

    code = "record-corrupt"


class ParquetCorrupt(Damaged):
    """A Parquet file was changed or cut short: bring it back from a backup, or make it anew."""

    code = "parquet-corrupt"


class ClusterChanged(Damaged):
    """A topic was recreated: its history is not the one these tables were made from."""

    code = "cluster-changed"


class AuditBroken(Damaged):
    """The audit is not what was signed for: something in it was changed, removed or replaced."""

    code = "audit-broken"
