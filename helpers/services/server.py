"""What `Api`, `MailServer`, and `Prometheus` share: a child process that runs from the start to the end of a `with`."""

from types import TracebackType
from typing import Any, ClassVar, Self

from helpers.services.child import Child, ServiceError

START_SECONDS = 60.0  # the start of Python can take this long with a cold disk and a virus scanner


class Server:
    """A server in a child process. A subclass sets `_module` and sets `_request` before the `with` block begins.

    The child process stops at the end of the `with` block, also if the block raises. It also stops when this process
    ends, however that happens.
    """

    _module: ClassVar[str]  # the module that the child process runs
    _request: Any  # what the child process receives at its start
    _child: Child | None = None
    _answer: Any = None  # the first report of the child process, such as its port

    def __enter__(self) -> Self:
        if self._child is not None:
            raise ServiceError(f"this {type(self).__name__} is running already: make a second one for a second server")
        try:
            self._child = Child(self._module, self._request)
            self._answer = self._child.receive(START_SECONDS)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        child, self._child = self._child, None
        if child is not None:
            child.stop()

    def _first_report(self) -> Any:
        """Return the first report of the child process. Raises ServiceError outside the `with` block."""
        if self._child is None:
            name = type(self).__name__
            raise ServiceError(f"this {name} is not running: use it inside `with {name}(...) as server:`")
        return self._answer
