"""Which request a record comes from: W3C Trace Context, level 1, section 3.2.

Web takes over what a caller says, or begins a trace; commands carry it, and the events that answer
them carry it on. Nothing is sent to any tracing system here.
"""

import re
import secrets

_VALID = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def traceparent_of(header: str | None) -> str:
    """The caller's `traceparent`, or a new one where there is none that is valid.

    Examples:
        >>> traceparent_of("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")
        '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01'
        >>> traceparent_of("nonsense")[:3], len(traceparent_of(None))
        ('00-', 55)
    """
    if header is not None and _VALID.fullmatch(header):
        return header
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
