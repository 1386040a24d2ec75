"""A rebuild in a process of its own, that a test kills: KAFKA PREFIX DATABASE BATCH as arguments."""

import asyncio
import sys

from projections.database import open_database
from projections.rebuild import rebuild
from streams.log import Log


async def main(kafka: str, prefix: str, address: str, batch: str) -> None:
    with open_database(address) as database:
        async with Log.open(kafka, prefix=prefix, source="/test/rebuilder") as log:
            await rebuild(database, log, batch=int(batch))


asyncio.run(main(*sys.argv[1:]))
