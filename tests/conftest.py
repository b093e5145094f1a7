"""Under pytest, what tests write by ``mktemp`` goes where pytest keeps its own files, not into the checkout."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session", autouse=True)
def working_directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(tmp_path_factory.mktemp("tests"))
    yield
    os.chdir(before)
