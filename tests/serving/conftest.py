import base64
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import msgspec
import openai
import pytest
import torch
import uvicorn

from lifelog.servers.ports import free_ports
from projections.database import Database
from schemas.recipe import Recipe
from schemas.settings import Settings
from tests.worker.life import KEK, Life
from tests.worker.weights import installed
from trainer import adapters, bases
from trainer.bases import Base
from trainer.serving.main import opened
from trainer.serving.memories import Memories
from trainer.serving.sentences import Sentences
from vault.artifacts import Artifacts
from vault.sealing import Vault

TOKEN = "let-me-in"
PERSON = "p1"
NAME = "Hetty Skerrow"


@pytest.fixture(scope="session")
def encoder() -> Sentences:
    return Sentences.load()


@pytest.fixture(scope="session")
def base() -> Base:
    return bases.load(Path(installed().folder))


@pytest.fixture
def vault(database: Database) -> Vault:
    return Vault(database, KEK)


@pytest.fixture
def life(database: Database, vault: Vault) -> Life:
    found = Life(database, vault)
    found.person(PERSON, NAME)
    return found


@pytest.fixture
def artifacts(tmp_path: Path, vault: Vault) -> Artifacts:
    return Artifacts(tmp_path / "artifacts", vault)


@pytest.fixture
def memories(database: Database, vault: Vault, encoder: Sentences) -> Iterator[Memories]:
    found = Memories(database, vault, encoder)
    yield found
    found.close()


class Endpoint:
    """Inference on a real port."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.said: list[str] = []
        headers = {"Authorization": f"Bearer {TOKEN}"}
        self.http = httpx.Client(base_url=address, headers=headers, timeout=60)
        self.openai = openai.OpenAI(base_url=f"{address}/v1", api_key=TOKEN, max_retries=0)


@pytest.fixture
def endpoint(
    base: Base, encoder: Sentences, life: Life, database_url: str, tmp_path: Path
) -> Iterator[Endpoint]:
    (port,) = free_ports(1)
    settings = Settings(
        home=str(tmp_path),
        database=database_url,
        key_encryption_key=base64.b64encode(KEK).decode(),
        inference_token=TOKEN,
        inference_port=port,
    )
    found = Endpoint(f"http://127.0.0.1:{port}")
    fresh = Base(_copy(base), base.tokenizer, base.digest)
    with opened(settings, fresh, encoder, died=lambda: None, say=found.said.append) as inference:
        config = uvicorn.Config(inference.app, port=port, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run)
        thread.start()
        while not server.started:
            time.sleep(0.02)
        yield found
        found.http.close()
        found.openai.close()
        server.should_exit = True
        thread.join()


def some_adapter(base: Base, artifacts: Artifacts, seed: int) -> dict[str, str]:
    """A stored adapter that answers unlike the base: its weights are drawn, not trained."""
    torch.manual_seed(seed)
    model = adapters.attach(_copy(base), Recipe(lora_rank=4))
    for name, value in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(value, std=0.06)
    adapter = artifacts.put(PERSON, adapters.adapter_bytes(model))
    config = artifacts.put(PERSON, msgspec.json.encode(adapters.config_dict(model)))
    return {
        "id": f"version-{seed}",
        "adapter": adapter,
        "adapter_config": config,
        "base": base.digest,
        "template": "0" * 64,
        "manifest": f"{seed:064x}",
    }


def _copy(base: Base) -> torch.nn.Module:
    """The same weights under another module tree: PEFT puts its layers into the one it is given."""
    import copy

    return copy.deepcopy(base.model)
