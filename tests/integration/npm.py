"""Packages of npm for the tests that need them, in a directory that is kept between runs."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["npm_folder", "wallets_folder"]

#: Scripts for wallets, and the exact versions of the libraries that they are built on.
WALLETS = Path(__file__).parent / "wallets"

#: Without a registry the tests must not wait for minutes.
_HURRY = ("--fetch-retries=1", "--fetch-timeout=20000", "--prefer-offline")
#: Seconds for a hundred packages on a machine that does much else.
_LIMIT = 180.0


def npm_folder(name: str, package: str) -> Path | None:
    """The directory in which *package*, a ``package.json``, is installed; None, with the reason printed, if not."""
    if not shutil.which("node") or not shutil.which("npm"):
        print(f"{name} is not run: node and npm are not installed", file=sys.stderr)
        return None
    folder = Path(tempfile.gettempdir()) / f"chainp2p-{name}-{os.getuid()}"
    installed = folder / "installed.json"
    if installed.exists() and installed.read_text() == package:
        return folder
    folder.mkdir(mode=0o700, exist_ok=True)
    (folder / "package.json").write_text(package)
    command = ["npm", "install", "--no-audit", "--no-fund", *_HURRY]
    try:
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=_LIMIT)
    except (subprocess.SubprocessError, OSError) as error:
        print(f"{name} is not run: {' '.join(command)} failed: {error}", file=sys.stderr)
        return None
    installed.write_text(package)
    return folder


def wallets_folder() -> Path | None:
    """The directory with the libraries of wallets, and our scripts that use them."""
    folder = npm_folder("wallets", (WALLETS / "package.json").read_text())
    if folder is not None:
        for script in WALLETS.glob("*.mjs"):
            shutil.copy(script, folder / script.name)
    return folder
