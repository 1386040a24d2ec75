"""Settings: read once, in each process's main, from the environment; all faults at once."""

from collections.abc import Mapping
from typing import Annotated, get_type_hints

import msgspec
from msgspec import Meta

from schemas.errors import InvalidSetting

PREFIX = "LIFELOG_"
TEST_PREFIX = "LIFELOG_TEST_"  # read by the test suite alone

Port = Annotated[int, Meta(ge=1, le=65_535)]
PerMinute = Annotated[int, Meta(ge=0)]
Price = Annotated[float, Meta(ge=0)]
Celsius = Annotated[float, Meta(gt=0)]
Slots = Annotated[int, Meta(ge=1)]
PositiveSeconds = Annotated[float, Meta(gt=0)]


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """Where things are and how long to wait. Each is `LIFELOG_` and its name in capitals."""

    home: str = ""  # folder of all data; empty: the platform's data folder
    server: str = ""  # address of a running web process, for the command line
    kafka: str = ""  # host:port of an existing cluster; empty: the embedded broker
    database: str = ""  # postgresql:// address of an existing server; empty: the embedded one
    prefix: str = "lifelog."  # of every topic
    replication: Annotated[int, Meta(ge=1)] = 1  # brokers that keep each record; of topics not made
    kafka_port: Port = 29_092
    kafka_controller_port: Port = 29_093
    database_port: Port = 25_432
    web_host: str = "127.0.0.1"
    web_port: Port = 8_300
    inference_host: str = "127.0.0.1"
    inference_port: Port = 8_301
    inference: str = ""  # http:// address of an inference process elsewhere; empty: the local one
    pool: str = "default"
    worker: str = "worker-1"  # the worker's id: the same after a restart
    worker_slots: Slots | None = None  # jobs at a time; none: one, or what its GPUs hold
    worker_reserved_bytes: str = ""  # that inference keeps of each GPU, with commas between
    worker_labels: str = ""  # with commas between: jobs may ask for them
    worker_price: Price | None = None  # of a GPU-hour; none: the pool's
    worker_spot: bool = False  # it may be taken away at any time
    worker_hot_c: Celsius = 85.0  # a GPU as hot as that is given no more work until it has cooled
    key_encryption_key: str = ""  # base64 of 32 bytes; empty: the key file in the home folder
    command_secret: str = ""  # base64 of 32 bytes, deciders only; empty: the file in the home
    issuer_key: str = ""  # base64 of 32 bytes: the process's own; empty: derived from the secret
    inference_token: str = ""  # what web shows inference; empty: the file in the home
    token: str = ""  # bearer token of the command line; empty: the operator of the local home
    lease_ttl_s: PositiveSeconds = 720.0
    renew_every_s: PositiveSeconds = 60.0
    heartbeat_every_s: PositiveSeconds = 3.0
    silent_after_s: PositiveSeconds = 15.0
    servers_within_s: PositiveSeconds = 120.0  # Kafka and Postgres are waited for at a start
    caught_up_within_s: PositiveSeconds = 2.0
    audit_every_s: PositiveSeconds = 60.0  # what the audit recorded is signed for within that time
    rate_sign_in: PerMinute = 60  # requests a minute from one address; 0: any number
    rate_tokens: PerMinute = 30  # tokens that one caller may make a minute
    rate_chat: PerMinute = 120  # questions that one caller may ask a minute
    threads: Annotated[int, Meta(ge=0)] = 0  # of torch; 0: as many as there are cores


def read(environ: Mapping[str, str]) -> Settings:
    """The settings that an environment holds.

    Raises:
        InvalidSetting: Naming every unknown setting and every wrong value.
    """
    kinds = get_type_hints(Settings, include_extras=True)
    values: dict[str, object] = {}
    faults: list[str] = []
    for name, text in environ.items():
        if not name.startswith(PREFIX) or name.startswith(TEST_PREFIX):
            continue
        field = name.removeprefix(PREFIX).lower()
        if field not in kinds:
            faults.append(f"{name}: no such setting")
            continue
        try:
            values[field] = msgspec.convert(text, kinds[field], strict=False)
        except msgspec.ValidationError as error:
            faults.append(f"{name}: {error}")
    if faults:
        raise InvalidSetting("Bad settings:\n" + "\n".join(sorted(faults)))
    return Settings(**values)  # type: ignore[arg-type]


def write(settings: Settings) -> dict[str, str]:
    """The environment that `read` makes these settings of; defaults are left out."""
    defaults = Settings()
    return {
        f"{PREFIX}{field.upper()}": str(getattr(settings, field))
        for field in Settings.__struct_fields__
        if getattr(settings, field) != getattr(defaults, field)
    }
