"""The straight line's figures: submission to start, event to browser, and training speed.

    uv run python bench/straight_line.py [--runs 3] [--starts 5] [--memories N] [--life FOLDER]

Starts a stack of its own in a temporary home, then trains twice on the same examples: with our
recipe and with a plain Hugging Face `Trainer` in an environment of its own (`bench/peers/`), with
the same base, batch size, LoRA layers, epochs and length grouping. Medians of several runs. The
last line is one JSON object.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import torch
from reporting import environment, figure

from lifelog import folder
from lifelog.client import Client
from lifelog.commands.context import Context
from lifelog.demonstration import sample_life
from lifelog.servers.ports import free_ports
from schemas.ids import digest
from schemas.recipe import Recipe
from trainer import adapters, bases
from trainer.batches import encode
from trainer.examples.builder import build
from trainer.examples.dataset import Entry
from trainer.training import train

HERE = Path(__file__).parent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--starts", type=int, default=5)
    parser.add_argument("--events", type=int, default=100)
    parser.add_argument("--memories", type=int, help="to train on; by default all of them")
    parser.add_argument("--life", type=Path)
    chosen = parser.parse_args()
    drafts = folder.read(chosen.life) if chosen.life else sample_life().drafts
    with tempfile.TemporaryDirectory(prefix="lifelog-bench-") as place:
        results = live(Path(place) / "home", drafts, chosen.starts, chosen.events)
        print(json.dumps(results), file=sys.stderr)
        results += training(Path(place) / "bases", drafts[: chosen.memories], chosen.runs)
    print(json.dumps({"bench": "straight_line", "results": results}))


def live(home: Path, drafts: list[folder.Draft], starts: int, events: int) -> list[dict]:
    """Latencies of a real stack, as a client on the same machine sees them."""
    web, inference, kafka, controller, database = free_ports(5)
    ports = {
        "LIFELOG_WEB_PORT": web,
        "LIFELOG_INFERENCE_PORT": inference,
        "LIFELOG_KAFKA_PORT": kafka,
        "LIFELOG_KAFKA_CONTROLLER_PORT": controller,
        "LIFELOG_DATABASE_PORT": database,
    }
    os.environ.update({name: str(port) for name, port in ports.items()})  # noqa: TID251
    lifelog = [sys.executable, "-m", "lifelog"]
    subprocess.run([*lifelog, "up", "--home", str(home)], check=True, stdout=sys.stderr)
    try:
        with Context(home=home).client() as client:
            person = client.add_person("Bench", "bench")
            key = f"import:{digest(msgspec.json.encode(drafts))}"
            client.add_entries(person, drafts[:80], key)
            seen = delivered(client, person, events)
            begun = [submission(client, person) for _ in range(starts)]
    finally:
        subprocess.run([*lifelog, "down", "--home", str(home)], check=True, stdout=sys.stderr)
    return [
        figure("submit to JobStarted, p50", statistics.median(begun), "s"),
        figure("submit to JobStarted, p99", high(begun), "s"),
        figure("event to client, p50", statistics.median(seen) * 1000, "ms"),
        figure("event to client, p99", high(seen) * 1000, "ms"),
    ]


def delivered(client: Client, person: str, count: int) -> list[float]:
    """Seconds from the broker's time of an event to its arrival through the event stream."""
    entry = client.ask("GET", f"/api/people/{person}/entries")["entries"][0]["entryId"]
    late: list[float] = []
    over = threading.Event()

    def listen() -> None:
        for frame in client.events():
            now = datetime.now(UTC)
            if frame.event == "consent.set":
                at = datetime.fromisoformat(json.loads(frame.data)["at"])
                late.append((now - at).total_seconds())
            if len(late) >= count or over.is_set():
                return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    time.sleep(1)
    scopes = [["train"], ["train", "retrieve"]]
    for number in range(count + 20):
        if len(late) >= count:
            break
        path = f"/api/people/{person}/entries/{entry}/consent"
        client.ask("POST", path, json={"scopes": scopes[number % 2]})
    over.set()
    thread.join(10)
    return late


def submission(client: Client, person: str) -> float:
    """Seconds from the request to the event that says that the job's child process runs."""
    began = time.monotonic()
    job = client.start(person, priority="high")["jobId"]
    while client.ask("GET", f"/api/jobs/{job}")["job"]["state"] in {"queued", "leased", "retrying"}:
        time.sleep(0.02)
    took = time.monotonic() - began
    client.ask("POST", "/api/training/queue", json={"action": "cancel", "jobId": job})
    while client.ask("GET", f"/api/jobs/{job}")["job"]["state"] != "cancelled":
        time.sleep(0.2)
    return took


def training(root: Path, drafts: list[folder.Draft], runs: int) -> list[dict]:
    """Our recipe against the plain Trainer, one after the other, several times."""
    recipe = msgspec.structs.replace(Recipe(), checkpoint_every=10**6)
    base = bases.install(root)
    entries = [
        Entry(
            entry_id=str(number),
            revision=1,
            kind=draft.kind,  # type: ignore[arg-type]
            title=draft.title,
            text=draft.text,
            question=draft.question,
            occasion=draft.occasion,
        )
        for number, draft in enumerate(drafts)
    ]
    dataset = build(entries, persona="Bench", seed=recipe.seed)
    folder_of_base = Path(base.folder)
    precision = bases.fitting_precision("cpu")
    tokenizer = bases.load(folder_of_base, device="cpu", precision=precision).tokenizer
    examples = [
        encode(tokenizer, example.messages, recipe.max_length)
        for example in dataset.examples
        if example.split == "train"
    ]
    job = {
        "base": base.folder,
        "examples": [{"ids": list(e.ids), "answer_start": e.answer_start} for e in examples],
        "epochs": recipe.epochs,
        "batch_size": recipe.batch_size,
        "learning_rate": recipe.learning_rate,
        "rank": recipe.lora_rank,
        "alpha": recipe.lora_alpha,
        "first_layer": recipe.first_layer,
        "targets": sorted(adapters.LINEAR_LAYERS),
        "precision": precision,
        "pad": tokenizer.pad_token_id,
        "threads": torch.get_num_threads(),
        "seed": recipe.seed,
    }
    ours, theirs = [], []
    for _ in range(runs):
        speeds: list[float] = []
        done = train(
            recipe,
            folder_of_base,
            dataset,
            report=lambda tick: speeds.append(tick.tokens_per_second),  # noqa: B023 - called now
            checkpoint=lambda _step, _data: None,
            stop=lambda: False,
        )
        print(f"ours: {speeds[-1]:.0f} tokens/s", file=sys.stderr)
        ours.append(speeds[-1])
        theirs.append(peer(job))
    ratio = statistics.median(ours) / statistics.median(theirs)
    return [
        figure(
            "training tokens per second",
            statistics.median(ours),
            "tokens/s",
            peer="Hugging Face Trainer",
            peer_value=statistics.median(theirs),
            goal=">= 1.3 x",
            holds=ratio >= 1.3,
        ),
        figure("training tokens of the run", done.training_tokens, "tokens"),
    ]


def peer(job: dict) -> float:
    """Tokens per second of the peer, in its own environment."""
    python = environment("hf-trainer")
    script = str(HERE / "peers" / "hf_trainer.py")
    done = subprocess.run(
        [str(python), script], input=json.dumps(job), text=True, stdout=subprocess.PIPE, check=True
    )
    answer = json.loads(done.stdout.splitlines()[-1])
    print(f"peer: {answer}", file=sys.stderr)
    return answer["tokens"] / answer["seconds"]


def high(values: list[float]) -> float:
    """The 99th percentile; of few values, the highest."""
    return sorted(values)[max(0, round(0.99 * len(values)) - 1)]


if __name__ == "__main__":
    main()
