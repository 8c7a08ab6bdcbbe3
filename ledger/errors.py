"""The error tree with stable codes.

    TongtingError
    ├── Refused            the caller's fault; repeating it unchanged cannot help (HTTP 4xx)
    │   ├── NotFound       not there, or not yours: the two look alike (404)
    │   ├── Conflict       the key is taken by other content (409)
    │   └── NotAllowed     no or insufficient credentials (401, 403)
    └── Unavailable        the other side's fault; may be repeated (503)

Knows no HTTP. Raised by every room; translated once, in the application.
"""

from typing import ClassVar


class TongtingError(Exception):
    """An expected failure with a stable code; the message says what to do."""

    code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str | None = None) -> None:
        super().__init__(message)
        if code is not None:
            self.code = code  # type: ignore[misc]  # an instance may name its case more exactly than its class


class Refused(TongtingError):
    code = "refused"


class NotFound(Refused):
    code = "not_found"


class Conflict(Refused):
    code = "conflict"


class NotAllowed(Refused):
    code = "not_allowed"


class Unavailable(TongtingError):
    code = "unavailable"
