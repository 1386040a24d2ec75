"""Checkpoints: a few lines of text that name a tree's size and root, and an Ed25519 signature.

The form is that of C2SP's signed notes and tlog-checkpoints, so that others' tools read them:

    lifelog/audit/TOPIC          which log: the id of its topic
    1234                         leaves
    SHA-256 root in base64
    at 2026-11-23T10:00:00+00:00
    (an empty line)
    — NAME BASE64                key's name; the first 4 bytes are its id, the rest is the signature

Source:
    c2sp.org/signed-note, c2sp.org/tlog-checkpoint; RFC 8032 for Ed25519.
"""

import base64
import binascii
import datetime
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from schemas.errors import AuditBroken
from vault.audit.merkle import HASH_BYTES

ED25519 = b"\x01"
KEY_ID_BYTES = 4
KEY_BYTES = 32
ORIGIN = "lifelog/audit/"
FOLDER = "audit"  # of the home: what the audit keeps outside the servers
_NOTE = re.compile(r"((?:[^\n]+\n)+)\n((?:— [^\n]+\n)+)")
_SIZE = re.compile(r"0|[1-9][0-9]{0,15}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """What is signed: which log had how many leaves, and what they hash to."""

    origin: str
    size: int
    root: bytes
    more: tuple[str, ...] = ()  # further lines, none of them empty


@dataclass(frozen=True, slots=True)
class Verifier:
    """A public key with its name. `str` writes it as one line, `parse` reads that."""

    name: str
    public: bytes

    @classmethod
    def parse(cls, text: str) -> "Verifier":
        """The key of a line `NAME+ID+BASE64`.

        Raises:
            AuditBroken: If it is none, or if its id is not that of the key.
        """
        name, _, rest = text.partition("+")
        key = _base64(rest.partition("+")[2])
        found = cls(name, key[1:])
        if len(key) != 1 + KEY_BYTES or str(found) != text:
            raise AuditBroken("The key beside the audit is no Ed25519 key as notes write one.")
        return found

    @property
    def key_id(self) -> bytes:
        """What a signature names the key by."""
        named = self.name.encode() + b"\n" + ED25519 + self.public
        return hashlib.sha256(named).digest()[:KEY_ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{_text(ED25519 + self.public)}"

    def opened(self, note: str) -> Checkpoint:
        """The checkpoint of a note that this key has signed.

        Raises:
            AuditBroken: If it is no note, or this key has not signed it.
        """
        found = _NOTE.fullmatch(note)
        if found is None:
            raise AuditBroken("This is no signed checkpoint: its lines are not those of a note.")
        text, signatures = found[1], found[2].splitlines()
        if len(signatures) != 1 or not self._signed(text, signatures[0]):
            raise AuditBroken(
                "The checkpoint is not signed by the key that stands beside it: the log was forged,"
                " or it is another installation's."
            )
        return _checkpoint(text)

    def _signed(self, text: str, line: str) -> bool:
        name, _, signed = line.removeprefix("— ").rpartition(" ")
        data = _base64(signed)
        if name != self.name or data[:KEY_ID_BYTES] != self.key_id:
            return False
        try:
            key = Ed25519PublicKey.from_public_bytes(self.public)
            key.verify(data[KEY_ID_BYTES:], text.encode())
        except (InvalidSignature, ValueError):
            return False
        return True


class Signer:
    """Signs checkpoints.

    Args:
        seed: 32 secret bytes.
        name: Of the key: visible ASCII without `+`.
    """

    def __init__(self, seed: bytes, name: str) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.verifier = Verifier(name, self._key.public_key().public_bytes_raw())

    def signed(self, checkpoint: Checkpoint) -> str:
        """The note of a checkpoint."""
        lines = (checkpoint.origin, str(checkpoint.size), _text(checkpoint.root), *checkpoint.more)
        text = "".join(f"{line}\n" for line in lines)
        signature = _text(self.verifier.key_id + self._key.sign(text.encode()))
        return f"{text}\n— {self.verifier.name} {signature}\n"


def origin_of(topic_id: str) -> str:
    """The name of the log that a topic holds."""
    return ORIGIN + topic_id


def checkpoint(origin: str, size: int, root: bytes, at: datetime.datetime) -> Checkpoint:
    """What is signed of the log at some time."""
    said = at.astimezone(datetime.UTC).isoformat(timespec="seconds")
    return Checkpoint(origin=origin, size=size, root=root, more=(f"at {said}",))


def split(text: str) -> list[str]:
    """The notes of a file that holds one after another, with an empty line between them.

    Raises:
        AuditBroken: If anything else stands in it.
    """
    found = [match[0] for match in _NOTE.finditer(text.rstrip("\n") + "\n")]
    if "".join(found).split() != text.split():
        raise AuditBroken("The file of checkpoints holds something that is no signed note.")
    return found


def proof_lines(hashes: Sequence[bytes]) -> tuple[str, ...]:
    """Hashes as bundles and answers write them."""
    return tuple(_text(one) for one in hashes)


def proof_of(lines: Sequence[str]) -> list[bytes]:
    """The hashes that `proof_lines` wrote.

    Raises:
        AuditBroken: If one is no hash.
    """
    found = [_base64(line) for line in lines]
    if any(len(one) != HASH_BYTES for one in found):
        raise AuditBroken("A proof holds something that is no SHA-256 hash.")
    return found


def _checkpoint(text: str) -> Checkpoint:
    origin, size, root, *more = [*text.splitlines(), "", ""]
    hashed = _base64(root)
    if _SIZE.fullmatch(size) is None or len(hashed) != HASH_BYTES:
        raise AuditBroken("A signed note is no checkpoint: size or root cannot be read.")
    return Checkpoint(origin=origin, size=int(size), root=hashed, more=tuple(more[:-2]))


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _base64(text: str) -> bytes:
    """Decoded; empty where it is not what `_text` would write."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return data if _text(data) == text else b""
