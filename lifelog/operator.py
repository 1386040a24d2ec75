"""The machine's own caller: whoever can read the home folder runs the installation."""

import base64
import datetime
from uuid import uuid4

from lifelog.servers.home import Home
from projections import credentials
from projections.database import Database, open_database
from schemas.settings import Settings
from schemas.types import OPERATOR, Role
from vault.secrets import access_secret, load_or_create, new_token, token_hash

CODE_LASTS = datetime.timedelta(minutes=15)
TOKEN_LASTS = datetime.timedelta(days=3_650)


def token_of(home: Home) -> str:
    """The bearer token of this machine's command line: only the home's owner can read it."""
    secret = load_or_create(home.secrets, "operator_token")
    return base64.urlsafe_b64encode(secret).decode().rstrip("=")


def admit(database: Database, home: Home, kek: bytes) -> None:
    """Let the command line in; harmless when it is already.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    token = token_of(home)
    if not credentials.is_there(database, "bearer", token_hash(access_secret(kek), token)):
        _insert(
            database,
            kek,
            token,
            kind="bearer",
            person=OPERATOR,
            role="admin",
            lasts=TOKEN_LASTS,
        )


def login_link(address: str, settings: Settings, kek: bytes, person: str, role: Role) -> str:
    """A link that logs its bearer in, once, within 15 minutes.

    Raises:
        DatabaseUnavailable: If Postgres does not answer.
    """
    code = new_token()
    with open_database(settings.database) as database:
        _insert(database, kek, code, kind="code", person=person, role=role, lasts=CODE_LASTS)
    return f"{address}/login?code={code}"


def _insert(
    database: Database,
    kek: bytes,
    text: str,
    *,
    kind: credentials.Kind,
    person: str,
    role: Role,
    lasts: datetime.timedelta,
) -> None:
    new = credentials.Credential(
        credential_id=str(uuid4()),
        kind=kind,
        person_id=person,
        role=role,
        label="command line",
        expires_at=datetime.datetime.now(datetime.UTC) + lasts,
    )
    credentials.insert(database, new, token_hash(access_secret(kek), text))
