"""The real small base, converted once a machine; its digest is checked whenever it is loaded."""

from pathlib import Path

import platformdirs

from trainer import bases
from trainer.bases import Installed


def bases_folder() -> Path:
    return platformdirs.user_cache_path("lifelog", appauthor=False) / "test-bases"


def installed() -> Installed:
    return bases.install(bases_folder())
