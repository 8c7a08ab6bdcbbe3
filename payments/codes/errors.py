"""Why a genuine pay code is not paid with.

Knows the error of codes that are not ours, beside which these stand; must not know pages. Raised by ``reading``.
"""

from typing import ClassVar

from payments.paycode import PayCodeRefused


class CodeUnknown(PayCodeRefused):
    """Signed by us, but the registry has no such number: it was made for another installation, or its issue was undone."""

    code: ClassVar[str] = "paycode_unknown"


class CodeRetired(PayCodeRefused):
    """It was taken down."""

    code: ClassVar[str] = "paycode_retired"


class CodeReplaced(PayCodeRefused):
    """Another one hangs in its place."""

    code: ClassVar[str] = "paycode_replaced"


class CodeReported(PayCodeRefused):
    """It was reported as stolen, pasted over or found where it does not belong."""

    code: ClassVar[str] = "paycode_reported"


class CodeMoved(PayCodeRefused):
    """It was carried to another lot than the one whose name is printed on it."""

    code: ClassVar[str] = "paycode_moved"


class CodeOver(PayCodeRefused):
    """The code of a screen was good for minutes, and they are over. ``lot_id`` is the lot it was shown at."""

    code: ClassVar[str] = "paycode_over"

    def __init__(self, message: str, *, lot_id: int) -> None:
        super().__init__(message)
        self.lot_id = lot_id
