"""How a job stands, as clients ask it again and again."""

from schemas import ids
from schemas.topics import RUN_TELEMETRY, partitions
from tests.web.stack import Person, Stack, wait_until
from tests.web.test_events import report, telemetry
from tests.web.test_queue_actions import asked, read
from tests.web.test_training import started


def test_a_status_is_the_job_of_its_page_whatever_its_state(ada: Person) -> None:
    made = started(ada)
    ada.client.headers["Lifelog-Position"] = made["at"]
    job = str(made["jobId"])
    for action in (None, "pause", "resume", "cancel"):
        if action is not None:
            answer = asked(ada.client, job, action)
            assert answer.status_code == 202, answer.text
            ada.client.headers["Lifelog-Position"] = answer.headers["lifelog-position"]
        page, tag = read(ada.client, job)
        answer = ada.client.get(f"/api/jobs/{job}/status")
        assert answer.status_code == 200, answer.text
        told = answer.json()
        for name in ("expectedStart", "expectedEnd"):  # counted from the moment of asking
            assert (told.pop(name) is None) == (page["job"].pop(name) is None)
        assert told == page["job"]
        assert answer.headers["etag"] == tag


def test_a_status_is_for_whom_it_concerns(stack: Stack, ada: Person, ben: Person) -> None:
    made = started(ada)
    headers = {"Lifelog-Position": made["at"]}
    address = f"/api/jobs/{made['jobId']}/status"
    assert ada.client.get(address, headers=headers).status_code == 200
    assert stack.admin.get(address).status_code == 200
    assert ben.client.get(address).status_code == 404
    assert ben.client.get("/api/jobs/nothing/status").json()["code"] == "not-found"


def test_a_status_counts_no_point_of_an_attempt_that_was_never_granted(
    stack: Stack, ada: Person
) -> None:
    made = started(ada)
    job = str(made["jobId"])
    partition = ids.partition_of(job, partitions(RUN_TELEMETRY))
    stack.web.run(telemetry(stack.web, partition, report(ada, job, 3)))
    wait_until(
        lambda: (
            stack.admin.get(f"/api/jobs/{job}", headers={"Lifelog-Position": made["at"]}).is_success
        )
    )
    assert ada.client.get(f"/api/jobs/{job}/status").json()["progress"] is None
