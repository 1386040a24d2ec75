"""The secrets that worker and inference are given: by a setting, or in the home's files."""

from pathlib import Path

from schemas.settings import Settings
from vault import secrets


def key_encryption_key(given: Settings) -> bytes:
    """The key that opens the stored keys.

    Raises:
        InvalidSetting: If the setting holds no key.
        StorageUnavailable: If it is not set, and the home holds none.
    """
    if given.key_encryption_key:
        return secrets.from_setting("key_encryption_key", given.key_encryption_key)
    return secrets.load(_folder(given), "kek")


def command_secret(given: Settings) -> bytes:
    """The secret from which issuers' keys are derived. Raises as `key_encryption_key`."""
    if given.command_secret:
        return secrets.from_setting("command_secret", given.command_secret)
    return secrets.load(_folder(given), "command_secret")


def inference_token(given: Settings) -> str:
    """What callers of inference show. Raises as `key_encryption_key`."""
    return given.inference_token or secrets.encoded(secrets.load(_folder(given), "inference_token"))


def _folder(given: Settings) -> Path:
    return Path(given.home) / "secrets"
