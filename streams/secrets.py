"""The command secret, as the settings carry it."""

import base64
import binascii

from schemas.errors import InvalidSetting
from schemas.settings import Settings

BYTES = 32


def command_secret(settings: Settings) -> bytes:
    """The installation's command secret.

    Raises:
        InvalidSetting: If it is missing, or not the base64 of 32 bytes.
    """
    try:
        secret = base64.b64decode(settings.command_secret, validate=True)
    except binascii.Error:
        secret = b""
    if len(secret) != BYTES:
        raise InvalidSetting(
            f"LIFELOG_COMMAND_SECRET must be the base64 of {BYTES} bytes: start the process with"
            " `lifelog run`, or give it what the home's secrets folder holds.",
            field="command_secret",
        )
    return secret
