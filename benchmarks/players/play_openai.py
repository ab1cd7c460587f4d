"""A bare loop of the openai client, as most scripts have one: no records, no scores, its own retries."""

from __future__ import annotations

import asyncio
from typing import Any

from job import Job, play_all, read_job
from openai import AsyncOpenAI


async def main(job: Job) -> None:
    async with AsyncOpenAI(base_url=job.url, api_key="none") as client:

        async def ask(body: dict[str, Any]) -> dict[str, Any]:
            completion = await client.chat.completions.create(**body)
            message: dict[str, Any] = completion.choices[0].message.model_dump(exclude_none=True)
            return message

        await play_all(job, ask)


if __name__ == "__main__":
    asyncio.run(main(read_job()))
