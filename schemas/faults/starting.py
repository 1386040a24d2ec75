"""The local stack cannot start."""

from schemas.faults.base import LifelogError


class SetupFailed(LifelogError):
    """The local stack cannot start."""

    code = "setup-failed"


class PortInUse(SetupFailed):
    """A port is taken."""

    code = "port-in-use"


class HomeInUse(SetupFailed):
    """A stack already runs on this home."""

    code = "home-in-use"


class JarMismatch(SetupFailed):
    """A broker file does not match its pinned digest."""

    code = "jar-mismatch"


class JarsUnavailable(SetupFailed):
    """A broker file is missing and cannot be fetched: connect to the network once."""

    code = "jars-unavailable"


class ServerFailed(SetupFailed):
    """An embedded server did not come up."""

    code = "server-failed"


class FolderUnreadable(SetupFailed):
    """A folder of memories cannot be read."""

    code = "folder-unreadable"


class SecretExposed(SetupFailed):
    """A secret's file can be read by other accounts of this machine."""

    code = "secret-exposed"


class SecretUnreadable(SetupFailed):
    """A secret is not 32 bytes in base64."""

    code = "secret-unreadable"
