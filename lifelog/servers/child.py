"""Become the server: die with the parent, leave root's account, then exec.

Run as a file by a bare interpreter (`python -I -S child.py PARENT SIGNAL ACCOUNT -- ARGV...`), so
that none of it happens between fork and exec in a process that has threads. ACCOUNT is `-` to
stay who we are. Only the standard library, and no import of the project.
"""

import ctypes
import os
import pwd
import sys

PR_SET_PDEATHSIG = 1
PR_SET_KEEPCAPS = 8
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_RAISE = 2
CAPABILITY_VERSION_3 = 0x20080522
CAP_DAC_OVERRIDE = 1
CAP_DAC_READ_SEARCH = 2


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Words(ctypes.Structure):
    _fields_ = (
        ("effective", ctypes.c_uint32),
        ("permitted", ctypes.c_uint32),
        ("inheritable", ctypes.c_uint32),
    )


def main(arguments: list[str]) -> None:
    """Take PARENT SIGNAL ACCOUNT -- ARGV and become ARGV; an OSError ends us with its text."""
    parent, death_signal, account = arguments[:3]
    libc = ctypes.CDLL(None, use_errno=True)
    if account != "-":
        _leave_root(libc, account)
    # After the change of account, which would clear it.
    _must(libc.prctl(PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0))
    if os.getppid() != int(parent):  # it ended before we asked to be told
        sys.exit("the parent process has ended")
    argv = arguments[4:]
    os.execv(argv[0], argv)  # noqa: S606 - no shell is wanted


def _leave_root(libc: ctypes.CDLL, account: str) -> None:
    """Become `account`, keeping one capability of root's: to pass through private folders.

    The home and the virtual environment often lie under a folder that only root may enter.
    Opening those folders to everyone would be worse than letting this one process through.
    """
    entry = pwd.getpwnam(account)
    _must(libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0))
    os.setgroups([])
    os.setresgid(entry.pw_gid, entry.pw_gid, entry.pw_gid)
    os.setresuid(entry.pw_uid, entry.pw_uid, entry.pw_uid)
    header = _Header(CAPABILITY_VERSION_3, 0)
    words = (_Words * 2)()
    _must(libc.capget(ctypes.byref(header), ctypes.byref(words)))
    kept = [
        capability
        for capability in (CAP_DAC_READ_SEARCH, CAP_DAC_OVERRIDE)
        if words[0].permitted >> capability & 1
    ][:1]
    mask = sum(1 << capability for capability in kept)
    words[0] = _Words(mask, mask, mask)
    words[1] = _Words(0, 0, 0)
    _must(libc.capset(ctypes.byref(header), ctypes.byref(words)))
    for capability in kept:
        _must(libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0))


def _must(result: int) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


if __name__ == "__main__":
    main(sys.argv[1:])
