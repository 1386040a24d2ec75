"""The base of every error."""

from typing import ClassVar


class LifelogError(Exception):
    """Base of every error that leaves its process. `str(error)` says what to do."""

    code: ClassVar[str] = "internal"
    retryable: ClassVar[bool] = False

    def __init__(self, detail: str = "", /, *, field: str | None = None) -> None:
        self.detail = detail or (self.__doc__ or "").strip()
        self.field = field
        super().__init__(self.detail)
