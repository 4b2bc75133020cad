"""An asynchronous client as if it were a blocking one, so that one scenario serves both kinds."""

from collections.abc import Callable
from typing import Any, Self

import anyio.from_thread
from tollbook.client import AsyncClient


class Driven:
    """An asynchronous client that is called as if it were a blocking one."""

    def __init__(
        self, portal: anyio.from_thread.BlockingPortal, url: str, key: str, **options: Any
    ) -> None:
        """Make the client inside the portal's event loop."""
        self._portal = portal
        self._client = AsyncClient(url, key=key, **options)

    def __enter__(self) -> Self:
        """Open the client."""
        self._portal.call(self._client.__aenter__)
        return self

    def __exit__(self, *_: object) -> None:
        """Close the client."""
        self._portal.call(self._client.close)

    def inference(self, *args: Any, **kwargs: Any) -> Any:
        """Make the asynchronous block usable by `with`."""
        block = self._client.inference(*args, **kwargs)
        return self._portal.wrap_async_context_manager(block)

    def __getattr__(self, name: str) -> Callable[..., Any]:
        """Call a method in the portal's event loop; a list comes whole."""

        async def run(*args: Any, **kwargs: Any) -> Any:
            answer = getattr(self._client, name)(*args, **kwargs)
            return [each async for each in answer] if hasattr(answer, "__anext__") else await answer

        return lambda *args, **kwargs: self._portal.call(lambda: run(*args, **kwargs))
