"""What every command shares: `--home`, `--server`, `--json`, and how it speaks.

Commands import what they need when they run: the tree of commands is made for every `--help` and
for every process of the stack, and httpx, SQLAlchemy and the servers take seconds.
"""

import os
import sys
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated, Any

import msgspec
from cyclopts import Parameter
from platformdirs import user_cache_path
from rich.console import Console

from lifelog.servers.home import Home, home_at
from schemas.settings import Settings, read
from schemas.types import OPERATOR, Role

if TYPE_CHECKING:
    from lifelog.client import Client
    from lifelog.stack import Secrets


@Parameter(name="*")
@dataclass(frozen=True)
class Context:
    """Options of every command."""

    home: Annotated[Path | None, Parameter(help="Folder of all data.")] = None
    server: Annotated[str | None, Parameter(help="Address of a running server.")] = None
    json: Annotated[bool, Parameter(help="Print JSON, one object a line.", negative="")] = False

    @cached_property
    def settings(self) -> Settings:
        """The settings of the environment, under the options."""
        found = read(os.environ)  # noqa: TID251 - the command line's main
        changes = {
            "home": str(self.home) if self.home else found.home,
            "server": self.server or found.server,
        }
        return msgspec.structs.replace(found, **changes)

    @cached_property
    def inherited(self) -> dict[str, str]:
        """The environment without our settings, for child processes."""
        from lifelog.processes import environment

        cache = user_cache_path("lifelog", appauthor=False)
        return environment(os.environ, cache)  # noqa: TID251 - the command line's main

    @cached_property
    def folder(self) -> Home:
        """The home folder, made if it is not there."""
        return home_at(Path(self.settings.home) if self.settings.home else None)

    @cached_property
    def full(self) -> Settings:
        """The settings with every address filled in."""
        from lifelog.stack import resolved

        return resolved(self.folder, self.settings)

    @cached_property
    def secrets(self) -> "Secrets":
        """The home's secrets."""
        from lifelog.stack import secrets_of

        return secrets_of(self.folder, self.settings)

    @property
    def address(self) -> str:
        """Of the server that commands speak to."""
        from lifelog.stack import web_address

        return self.settings.server or web_address(self.settings)

    def client(self) -> "Client":
        """The API, as this machine's operator or as the bearer of LIFELOG_TOKEN."""
        from lifelog.client import Client

        return Client(self.address, self.settings.token or self.operator_token)

    @property
    def operator_token(self) -> str:
        """The bearer token that only whoever can read the home folder has."""
        from lifelog import operator

        return operator.token_of(self.folder)

    def login_link(self, person: str = OPERATOR, role: Role = "admin") -> str:
        """A link that logs its bearer in, once, within 15 minutes."""
        from lifelog import operator

        kek = self.secrets.key_encryption_key
        self.audit("login link", person, people=() if person == OPERATOR else (person,))
        return operator.login_link(self.address, self.full, kek, person, role)

    def audit(self, action: str, subject: str = "", people: tuple[str, ...] = ()) -> None:
        """Write down what the operator is about to do past web; the audit takes it from there.

        Args:
            action: The command: "keys backup".
            subject: What it is about; no path and no text.
            people: Whose things it is about.

        Raises:
            StorageUnavailable: If it cannot be written: then it must not be done.
        """
        from schemas.events import AccessRecorded
        from vault.audit import waiting

        event = AccessRecorded(
            actor=OPERATOR,
            action=f"lifelog {action}",
            subject=subject,
            allowed=True,
            role="admin",
            way="command line",
            people=people,
        )
        waiting.put(self.folder.root, event)

    @property
    def screen(self) -> IO[bytes]:
        """Where bytes go that another program may read."""
        return sys.stdout.buffer

    @cached_property
    def console(self) -> Console:
        """Where people read; with `--json` it is stderr, so that stdout holds JSON alone."""
        return Console(stderr=self.json, highlight=False)

    def show(self, answer: Any, text: Any = None) -> None:
        """Print an answer: JSON if asked for, else the text for people."""
        if self.json:
            sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
            sys.stdout.flush()
        elif text is not None:
            self.console.print(text)
