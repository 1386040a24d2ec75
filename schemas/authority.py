"""Which issuer may send which kind of command, and the MAC that proves who sent it.

An issuer is named `web`, `clock`, `monitor`, `process-manager`, `operator` or `worker:ID`. Each has
a key of its own, derived from the installation's command secret, and is given that key alone.
"""

import hashlib
import hmac

import msgspec

from schemas import commands

MAY_SEND: dict[type[msgspec.Struct], frozenset[str]] = {
    commands.SubmitJob: frozenset({"web"}),
    commands.CancelJob: frozenset({"web"}),
    commands.JoinPool: frozenset({"worker"}),
    commands.LeavePool: frozenset({"worker"}),
    commands.RenewLease: frozenset({"worker"}),
    commands.ReportStarted: frozenset({"worker"}),
    commands.ReportDataset: frozenset({"worker"}),
    commands.NoteCheckpoint: frozenset({"worker"}),
    commands.ReportSucceeded: frozenset({"worker"}),
    commands.ReportFailed: frozenset({"worker"}),
    commands.ReportStopped: frozenset({"worker"}),
    commands.NoteWorkerSilent: frozenset({"monitor"}),
    commands.NoteWorkerHeard: frozenset({"monitor"}),
    commands.DeclareWorkerLost: frozenset({"web", "operator"}),
    commands.AdvanceTime: frozenset({"clock"}),
    commands.PauseJob: frozenset({"web"}),
    commands.ResumeJob: frozenset({"web"}),
    commands.HoldJob: frozenset({"web", "operator"}),
    commands.ReleaseJob: frozenset({"web", "operator"}),
    commands.RetryJob: frozenset({"web"}),
    commands.ReprioritiseJob: frozenset({"web"}),
    commands.ActOnJobs: frozenset({"web", "operator"}),
    commands.PausePerson: frozenset({"web", "operator"}),
    commands.ResumePerson: frozenset({"web", "operator"}),
    commands.PausePool: frozenset({"web", "operator"}),
    commands.ResumePool: frozenset({"web", "operator"}),
    commands.ConfigurePool: frozenset({"web", "operator"}),
    commands.SetBudget: frozenset({"web", "operator"}),
    commands.SetShare: frozenset({"web", "operator"}),
    commands.DrainWorker: frozenset({"web", "operator"}),
    commands.ResumeWorker: frozenset({"web", "operator"}),
    commands.NoteWorkerHot: frozenset({"monitor", "worker"}),
    commands.NoteWorkerCooled: frozenset({"monitor", "worker"}),
    commands.ReportIdle: frozenset({"worker"}),
    commands.AddPerson: frozenset({"web"}),
    commands.SetConsent: frozenset({"web"}),
    commands.RegisterVersion: frozenset({"process-manager"}),
    commands.MoveAlias: frozenset({"web"}),
}


def may_send(issuer: str, command: msgspec.Struct) -> bool:
    """Whether this issuer may send the command at all.

    A worker speaks for itself alone: `worker:a` may not report for `worker:b`.

    Examples:
        >>> may_send("web", commands.CancelJob(job_id="j"))
        True
        >>> may_send("worker:a", commands.LeavePool(worker_id="b", incarnation="1"))
        False
    """
    kind, _, name = issuer.partition(":")
    if kind not in MAY_SEND.get(type(command), frozenset()):
        return False
    return kind != "worker" or getattr(command, "worker_id", None) == name


def issuer_key(secret: bytes, issuer: str) -> bytes:
    """The key of one issuer: HMAC-SHA256 of its name under the installation's command secret."""
    return hmac.digest(secret, f"lifelog-issuer:{issuer}".encode(), hashlib.sha256)


def mac(
    key: bytes,
    *,
    topic: str,
    partition: int,
    identity: str,
    kind: str,
    body_hash: str,
    value: bytes,
) -> str:
    """HMAC-SHA256 over where a command goes, which one it is and what it says, in hex."""
    text = f"{topic}\n{partition}\n{identity}\n{kind}\n{body_hash}\n".encode() + value
    return hmac.digest(key, text, hashlib.sha256).hex()


def holds(expected: str, given: str) -> bool:
    """Whether two MACs are equal, in constant time."""
    return hmac.compare_digest(expected, given)
