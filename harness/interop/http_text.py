"""A request's body as text, however it says that it is written."""

from __future__ import annotations

import asyncio

from aiohttp import web

from harness.errors import UsageError

PATIENCE = 60.0
"""Seconds in which a request must have come, also its first byte."""


async def read_text(request: web.Request) -> str:
    """UTF-8, whatever encoding is claimed: some that Python knows take hours. Raises UsageError."""
    try:
        async with asyncio.timeout(PATIENCE):
            return (await request.read()).decode()
    except (UnicodeDecodeError, web.RequestPayloadError):
        raise UsageError("The message is no UTF-8.") from None
    except TimeoutError:
        raise UsageError("The message took too long to come.") from None
