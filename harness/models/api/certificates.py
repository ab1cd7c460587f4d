"""Whose certificates are trusted where a variable says so, for whatever sends requests.

SSL_CERT_FILE goes before SSL_CERT_DIR, as in Python and httpx2, and both before REQUESTS_CA_BUNDLE (a file or a
folder), which people behind a company's own authority have set already.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from harness.errors import UsageError

FILE, FOLDER, EITHER = "SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE"


def given_context() -> ssl.SSLContext | None:
    """A context that trusts what a variable names; None where none is set. Raises OSError where it cannot be read."""
    if file := os.environ.get(FILE):
        return ssl.create_default_context(cafile=file)
    if folder := os.environ.get(FOLDER):
        return ssl.create_default_context(capath=folder)
    if place := os.environ.get(EITHER):
        if Path(place).is_dir():
            return ssl.create_default_context(capath=place)
        return ssl.create_default_context(cafile=place)
    return None


def verify_option() -> ssl.SSLContext | bool:
    """The same as httpx2's `verify`."""
    return given_context() or True


def check_certificates() -> None:
    """Raises UsageError where a variable names what cannot be read: every request would fail."""
    try:
        given_context()
    except OSError as error:
        name = next(name for name in (FILE, FOLDER, EITHER) if os.environ.get(name))
        said = error.strerror or str(error)
        raise UsageError(f"{name} names no certificates that can be read: {os.environ[name]} ({said}).") from None
