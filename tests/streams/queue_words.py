"""Short words for the queue's commands."""

from typing import Any

from schemas import commands
from schemas.events import LeaseGranted
from streams.queue.deadlines import next_deadline
from streams.queue.decider import queue_decider
from streams.queue.policy import Policy
from tests.streams.sentences import Story, at

DIGEST = "0" * 64


def queue(policy: Policy | None = None) -> Story:
    return Story(queue_decider(policy))


def submit(job_id: str, **fields: Any) -> commands.SubmitJob:
    return commands.SubmitJob(
        **{"job_id": job_id, "person_id": "ann", "recipe": {"rank": 16}} | fields
    )


def cancel(job_id: str, **fields: Any) -> commands.CancelJob:
    return commands.CancelJob(job_id=job_id, **fields)


def join(worker_id: str = "w1", incarnation: str = "1", **fields: Any) -> commands.JoinPool:
    return commands.JoinPool(
        **{
            "worker_id": worker_id,
            "incarnation": incarnation,
            "host": "box",
            "device": "cpu",
            "memory_bytes": 1_000,
        }
        | fields
    )


def leave(worker_id: str = "w1", incarnation: str = "1") -> commands.LeavePool:
    return commands.LeavePool(worker_id=worker_id, incarnation=incarnation)


def advance(story: Story) -> commands.AdvanceTime:
    return commands.AdvanceTime(due=next_deadline(story.state) or at(0))


def _report(lease: LeaseGranted, fields: dict[str, Any]) -> dict[str, Any]:
    return {
        "job_id": lease.job_id,
        "attempt": lease.attempt,
        "worker_id": lease.worker_id,
        "fencing_token": lease.fencing_token,
    } | fields


def renew(lease: LeaseGranted, **fields: Any) -> commands.RenewLease:
    return commands.RenewLease(**_report(lease, fields))


def started(lease: LeaseGranted, **fields: Any) -> commands.ReportStarted:
    return commands.ReportStarted(**_report(lease, {"device": "cpu"} | fields))


def dataset(lease: LeaseGranted, **fields: Any) -> commands.ReportDataset:
    known = {"dataset": DIGEST, "manifest": DIGEST, "examples": 3, "entries": 2}
    return commands.ReportDataset(**_report(lease, known | fields))


def checkpoint(lease: LeaseGranted, **fields: Any) -> commands.NoteCheckpoint:
    known = {"step": 10, "total_steps": 100, "checkpoint": DIGEST}
    return commands.NoteCheckpoint(**_report(lease, known | fields))


def succeeded(lease: LeaseGranted, **fields: Any) -> commands.ReportSucceeded:
    digests = ("adapter", "adapter_config", "dataset", "manifest", "base", "template", "recipe")
    known = dict.fromkeys(digests, DIGEST) | {"version_id": f"v-{lease.job_id}"}
    return commands.ReportSucceeded(**_report(lease, known | fields))


def failed(lease: LeaseGranted, **fields: Any) -> commands.ReportFailed:
    known = {"cause": "infrastructure", "code": "child-died"}
    return commands.ReportFailed(**_report(lease, known | fields))


def stopped(lease: LeaseGranted, **fields: Any) -> commands.ReportStopped:
    return commands.ReportStopped(**_report(lease, {"cancelled": False} | fields))


def idle(lease: LeaseGranted, **fields: Any) -> commands.ReportIdle:
    return commands.ReportIdle(**_report(lease, {"idle_s": 700.0} | fields))


def configure(**changes: Any) -> commands.ConfigurePool:
    return commands.ConfigurePool(changes=changes)


def gpu_worker(worker_id: str = "g1", *sizes: int, **fields: Any) -> commands.JoinPool:
    """A worker with a GPU of each size, and as many slots as four jobs on each need."""
    sizes = sizes or (24,)
    return join(
        worker_id,
        **{
            "device": "cuda",
            "gpus": tuple("GPU" for _ in sizes),
            "gpu_bytes": sizes,
            "memory_bytes": max(sizes),
            "slots": 4 * len(sizes),
        }
        | fields,
    )


def grants(story: Story) -> list[LeaseGranted]:
    """The leases of the last decision."""
    return [event for event in story.said if isinstance(event, LeaseGranted)]


def granted(story: Story) -> list[str]:
    """The jobs that the last decision leased."""
    return [event.job_id for event in grants(story)]


def wait_until(story: Story, seconds: float) -> Story:
    """Let the clock say whatever becomes due until then."""
    while True:
        due = next_deadline(story.state)
        at_s = float("inf") if due is None else (due - at(0)).total_seconds()
        if at_s > seconds:
            story.seconds = max(story.seconds, seconds)
            return story
        story.seconds = max(story.seconds, at_s)
        story.when(advance(story))
