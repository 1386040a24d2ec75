"""How often a caller may ask for what costs much: a bucket of tokens for each, in this process.

A bucket holds a minute's worth and fills evenly; a request takes one token or is refused with the
time after which there is one again. Several web processes each count for themselves.

Source:
    Turner, New directions in communications (or which way to the information age?), IEEE
    Communications Magazine 24(10), 1986: the leaky bucket as a meter.
"""

import ipaddress
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

from schemas.errors import RateLimited
from schemas.settings import Settings

Rate = Literal["sign-in", "tokens", "chat", "refusals"]

MOST = 10_000  # callers that are remembered; whoever asked longest ago is forgotten first
MINUTE_S = 60.0
NETWORK_BITS = 64  # of an IPv6 address: one household has all that begin so


class Rates:
    """The buckets of one process.

    Args:
        a_minute: Requests that one caller may send, by what they cost; 0: any number.
        clock: Monotonic seconds.
        most: How many callers are remembered.
    """

    def __init__(
        self,
        a_minute: Mapping[Rate, int],
        *,
        clock: Callable[[], float] = time.monotonic,
        most: int = MOST,
    ) -> None:
        self._a_minute = a_minute
        self._clock = clock
        self._most = most
        self._buckets: OrderedDict[tuple[Rate, str], tuple[float, float]] = OrderedDict()

    def take(self, rate: Rate, caller: str) -> None:
        """Count one request.

        Args:
            rate: What is asked for.
            caller: Who asks: a person's id, or an address as `network_of` gives it.

        Raises:
            RateLimited: If it is one too many; it says when the next one may come.
        """
        size = self._a_minute[rate]
        if not size:
            return
        now, name = self._clock(), (rate, caller)
        tokens, since = self._buckets.pop(name, (float(size), now))
        tokens = min(size, tokens + (now - since) * size / MINUTE_S)
        allowed = tokens >= 1
        self._buckets[name] = (tokens - 1 if allowed else tokens, now)
        while len(self._buckets) > self._most:
            self._buckets.popitem(last=False)
        if not allowed:
            raise RateLimited(
                f"More than {size} requests of this kind in a minute: wait, then send it again.",
                after_s=(1 - tokens) * MINUTE_S / size,
            )


def of_settings(settings: Settings) -> Rates:
    """The buckets that the settings describe."""
    return Rates(
        {
            "sign-in": settings.rate_sign_in,
            "tokens": settings.rate_tokens,
            "chat": settings.rate_chat,
        }
    )


def network_of(host: str) -> str:
    """Whom an address stands for: itself, or of IPv6 the network that one household has.

    Examples:
        >>> network_of("192.0.2.7"), network_of("2001:db8:1:2:3:4:5:6")
        ('192.0.2.7', '2001:db8:1:2::/64')
    """
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 4:  # noqa: PLR2004 - of the Internet Protocol
        return host
    return str(ipaddress.ip_network((int(address), NETWORK_BITS), strict=False))
