"""A headless Chromium for tests: one on the PATH, or playwright's own; without either, a loud skip."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator[Any]:
    """A playwright browser."""
    api = pytest.importorskip("playwright.sync_api", reason="NO BROWSER TEST RAN: playwright is not installed")
    with api.sync_playwright() as driver:
        found = next((path for name in NAMES if (path := shutil.which(name))), driver.chromium.executable_path)
        if not Path(found).exists():
            pytest.skip(
                f"NO BROWSER TEST RAN: none of {', '.join(NAMES)} is on the PATH, nor playwright's own Chromium"
            )
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        browser = driver.chromium.launch(executable_path=found, args=root)
        try:
            yield browser
        finally:
            browser.close()
