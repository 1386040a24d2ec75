"""What all benches share: the lines of a result, and the environments of their peers."""

import subprocess
from pathlib import Path
from typing import Any

PEERS = Path(__file__).parent / "peers"


def figure(metric: str, value: float, unit: str, **rest: Any) -> dict[str, Any]:
    """One line of a result: `peer` and `peer_value`, `goal` and `holds` where there are any."""
    empty = {"peer": None, "peer_value": None, "ratio": None, "goal": None, "holds": None}
    found = {"metric": metric, "value": round(value, 3), "unit": unit, **empty, **rest}
    if found["peer_value"]:
        found["ratio"] = round(value / found["peer_value"], 3)
        found["peer_value"] = round(found["peer_value"], 3)
    return found


def environment(name: str) -> Path:
    """The Python of a peer's own environment, which is made at the first run."""
    place = PEERS / f".venv-{name}"
    python = place / "bin" / "python"
    if not python.exists():
        subprocess.run(["uv", "venv", "--quiet", str(place)], check=True)
        wanted = ["uv", "pip", "install", "--quiet", "--python", str(python)]
        subprocess.run([*wanted, "-r", str(PEERS / f"{name}.txt")], check=True)
    return python
