"""Positions that a client cannot go on from: no longer kept, or of a topic that was recreated."""

import asyncio

from aiokafka import TopicPartition
from aiokafka.admin.records_to_delete import RecordsToDelete

from schemas import ids
from schemas.positions import Vector, decode_vector, encode_vector
from schemas.topics import ENTRY_EVENTS, partitions
from streams.administration import administration
from tests.web.stack import Person, Stack
from tests.web.test_events import empty_ring, of_job, reading, start


def shortened(stack: Stack, topic: str, partition: int, first: int) -> None:
    """Let the broker forget the records before an offset."""

    async def forget() -> None:
        settings = stack.settings
        async with administration(settings.kafka) as admin:
            at = TopicPartition(settings.prefix + topic, partition)
            await admin.delete_records({at: RecordsToDelete(before_offset=first)})

    asyncio.run(forget())


def test_a_page_whose_position_is_no_longer_kept_is_told_the_earliest(
    stack: Stack, ada: Person
) -> None:
    with reading(ada.client) as reader:
        reader.opened()
    place = ids.partition_of(ada.person_id, partitions(ENTRY_EVENTS))
    here = decode_vector(reader.last_id).next[ENTRY_EVENTS.name][place]
    for _ in range(3):
        ada.write()
    shortened(stack, ENTRY_EVENTS.name, place, here + 2)
    empty_ring(stack.web)
    stack.web.services.kept._asked = -1_000.0  # what it remembers is older than the shortening
    refused = ada.client.get("/api/events", headers={"Last-Event-ID": reader.last_id})
    assert refused.status_code == 409
    problem = refused.json()
    assert problem["code"] == "position-expired"
    assert decode_vector(problem["earliest"]).next[ENTRY_EVENTS.name][place] == here + 2
    with reading(ada.client, problem["earliest"]) as again:
        again.until(lambda event: event.event == "entry.written")
        job_id = start(ada)
        again.until(of_job(job_id, "job.submitted"))


def test_a_page_of_a_recreated_topic_is_told_to_begin_anew(ada: Person) -> None:
    with reading(ada.client) as reader:
        here = decode_vector(reader.opened().last_id)
    offsets = here.next | {ENTRY_EVENTS.name: [one + 7 for one in here.next[ENTRY_EVENTS.name]]}
    ahead = encode_vector(Vector(cluster=here.cluster, next=offsets))
    with reading(ada.client, ahead) as again:
        event = again.until(lambda _: True)
    assert (event.event, event.json()) == ("reset", {"scope": "all"})
