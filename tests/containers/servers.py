"""Our image, and what runs from it: servers, volumes and processes, by testcontainers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from testcontainers.core.container import DockerContainer
from testcontainers.core.docker_client import DockerClient
from testcontainers.core.image import DockerImage
from testcontainers.core.wait_strategies import LogMessageWaitStrategy

from lifelog.servers.ports import LOOPBACK, free_ports

ROOT = Path(__file__).parents[2]
IMAGE = "lifelog"  # as docker-compose.yml names it
PASSWORD = "onlyInTheseTests0"
READY_WITHIN_S = 120
GRACE_S = 30  # for a container to end in good order
ENDED = {0, 143}  # 143: a Java machine that ended in good order when it was told to


def build() -> str:
    """The image's name. No registry is asked for it; layers that have not changed are kept."""
    DockerImage(path=ROOT, tag=IMAGE, clean_up=False, target="app").build()
    return IMAGE


@contextmanager
def kafka(image: str, *, port: int | None = None, volume: str | None = None) -> Iterator[str]:
    """`host:port` of a broker in a container.

    A broker tells its clients where they find it, so its port is chosen before it starts and is
    the same inside and outside.
    """
    port = port or free_ports(1)[0]
    with _server(image, "kafka", port, volume):
        yield f"{LOOPBACK}:{port}"


@contextmanager
def postgres(image: str, *, port: int | None = None, volume: str | None = None) -> Iterator[str]:
    """Address of a database in a container."""
    port = port or free_ports(1)[0]
    with _server(image, "postgres", port, volume, {"LIFELOG_DATABASE_PASSWORD": PASSWORD}):
        yield f"postgresql://lifelog:{PASSWORD}@{LOOPBACK}:{port}/lifelog"


@contextmanager
def process(
    image: str, command: Sequence[str], settings: Mapping[str, str]
) -> Iterator[DockerContainer]:
    """A process of ours in a container that shares this machine's network.

    The servers say that they are on its loopback.
    """
    container = (
        DockerContainer(image)
        .with_command(list(command))
        .with_envs(**{f"LIFELOG_{name.upper()}": text for name, text in settings.items()})
        .with_kwargs(network_mode="host")
    )
    with container:
        yield container


def end(container: DockerContainer) -> int:
    """Tell a container to end, as `docker stop` does. Its exit status; 137 if it had to be killed."""
    container.get_wrapped_container().stop(timeout=GRACE_S)
    return container.wait()


@contextmanager
def new_volume() -> Iterator[str]:
    """The name of an empty volume."""
    volumes = DockerClient().client.volumes
    made = volumes.create(f"lifelog-test-{uuid4().hex[:12]}")
    try:
        yield made.name
    finally:
        made.remove()


@contextmanager
def _server(
    image: str,
    name: str,
    port: int,
    volume: str | None,
    environ: Mapping[str, str] | None = None,
) -> Iterator[None]:
    container = (
        DockerContainer(image)
        .with_command([name, "--host", LOOPBACK, "--port", str(port)])
        .with_envs(**(environ or {}))
        .with_kwargs(entrypoint=["python", "-m", "lifelog.servers.serve"])
        .waiting_for(LogMessageWaitStrategy("is ready").with_startup_timeout(READY_WITHIN_S))
    )
    # Published on loopback alone; testcontainers' own words for it know no address.
    container.ports = {f"{port}/tcp": (LOOPBACK, port)}
    if volume:
        container.with_volume_mapping(volume, "/data", "rw")
    with container:
        yield
        status = end(container)
        assert status in ENDED, f"{name} ended with {status}\n{container.get_logs()}"
