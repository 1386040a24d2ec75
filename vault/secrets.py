"""Secrets of an installation, one file each, and the access tokens that people carry.

A secret is 32 random bytes, kept as one line of base64 in a file that only its owner may read.
"""

import base64
import binascii
import hashlib
import hmac
import os
import secrets
from pathlib import Path

from schemas.errors import InvalidSetting, SecretExposed, SecretUnreadable, StorageUnavailable
from vault.files import private_folder, replaced, sync_folder, written_beside

SECRET_BYTES = 32
TOKEN_BYTES = 32  # 256 bits: 43 characters
OTHERS = 0o077  # any right of the group or of everyone


def load_or_create(folder: Path, name: str) -> bytes:
    """The secret of this name, drawn and stored on the first call.

    Of two processes that call at once on an empty folder, both get the same secret.

    Args:
        folder: Made with mode 0700 where it is not there.
        name: The file's name: "kek", "command_secret", "inference_token".

    Raises:
        SecretExposed: If other accounts can read the file.
        SecretUnreadable: If it does not hold 32 bytes in base64.
        StorageUnavailable: If it cannot be read or written.
    """
    path = folder / name
    try:
        private_folder(folder)
        if not path.exists():
            _create(path, secrets.token_bytes(SECRET_BYTES))
    except OSError as error:
        raise StorageUnavailable(f"The secret {path} cannot be written: {error}") from error
    return load(folder, name)


def load(folder: Path, name: str) -> bytes:
    """The secret of this name.

    Raises:
        SecretExposed: If other accounts can read the file.
        SecretUnreadable: If it does not hold 32 bytes in base64.
        StorageUnavailable: If it is not there or cannot be read.
    """
    path = folder / name
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(4_096)
    except OSError as error:
        raise StorageUnavailable(f"The secret {path} cannot be read: {error}") from error
    if mode & OTHERS:
        raise SecretExposed(
            f"The secret {path} can be read by other accounts of this machine (its mode is "
            f"{mode & 0o777:04o}): run `chmod 600` on it; draw it anew if others use the machine."
        )
    value = _decoded(text)
    if value is None:
        raise SecretUnreadable(
            f"The secret {path} is not {SECRET_BYTES} bytes in base64: put back the file that was "
            f"there, or, if it is the key-encryption key, run `lifelog keys recover`."
        )
    return value


def store(folder: Path, name: str, value: bytes) -> None:
    """Put a secret in place of the one that is there, in one step.

    Raises:
        SecretUnreadable: If it is not 32 bytes.
        StorageUnavailable: If it cannot be written.
    """
    if len(value) != SECRET_BYTES:
        raise SecretUnreadable(f"A secret has {SECRET_BYTES} bytes; this one has {len(value)}.")
    path = folder / name
    try:
        private_folder(folder)
        replaced(path, _line(value))
    except OSError as error:
        raise StorageUnavailable(f"The secret {path} cannot be written: {error}") from error


def from_setting(setting: str, text: str) -> bytes:
    """The secret that a setting holds.

    Args:
        setting: The setting's name, for the message: "key_encryption_key".
        text: 32 bytes in base64.

    Raises:
        InvalidSetting: If it holds anything else; the message does not repeat it.
    """
    value = _decoded(text.encode())
    if value is None:
        raise InvalidSetting(
            f"LIFELOG_{setting.upper()} is not {SECRET_BYTES} bytes in base64: make one with "
            f"`openssl rand -base64 {SECRET_BYTES}`.",
            field=setting,
        )
    return value


def encoded(secret: bytes) -> str:
    """A secret as settings and files carry it: base64 without a newline."""
    return base64.b64encode(secret).decode()


def new_token() -> str:
    """A new access token: 256 random bits as 43 characters that are safe in an address."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_hash(secret: bytes, token: str) -> bytes:
    """What is stored of a token: HMAC-SHA256 under the installation's secret, 32 bytes.

    A copy of the table alone lets nobody in, and nobody can look for a token in it.
    """
    text = b"lifelog-token:" + token.encode("utf-8", "surrogatepass")
    return hmac.digest(secret, text, hashlib.sha256)


def access_secret(kek: bytes) -> bytes:
    """The key under which access tokens are hashed: it follows from the key-encryption key, so
    that whoever recovers that one needs nothing else to let people in again.
    """
    return hmac.digest(kek, b"lifelog-access-tokens", hashlib.sha256)


def token_matches(secret: bytes, token: str, stored: bytes) -> bool:
    """Whether a stored hash is that of this token, in constant time."""
    return hmac.compare_digest(token_hash(secret, token), stored)


def _create(path: Path, value: bytes) -> None:
    """Write a file that is not there yet; whoever links first wins."""
    written = written_beside(path, _line(value))
    try:
        path.hardlink_to(written)
    except FileExistsError:
        pass  # another process drew it at the same moment: its secret holds
    finally:
        written.unlink()
    sync_folder(path.parent)


def _line(value: bytes) -> bytes:
    return encoded(value).encode() + b"\n"


def _decoded(text: bytes) -> bytes | None:
    try:
        value = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return None
    return value if len(value) == SECRET_BYTES else None
