"""A bare loop of aiohttp: about the least that a client in Python can cost. It retries nothing."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
from job import Job, play_all, read_job


async def main(job: Job) -> None:
    connector = aiohttp.TCPConnector(limit=job.concurrency)
    async with aiohttp.ClientSession(connector=connector) as session:

        async def ask(body: dict[str, Any]) -> dict[str, Any]:
            async with session.post(f"{job.url}/chat/completions", json=body) as response:
                response.raise_for_status()
                message: dict[str, Any] = (await response.json())["choices"][0]["message"]
                return message

        await play_all(job, ask)


if __name__ == "__main__":
    asyncio.run(main(read_job()))
