"""`lean_dispatch`: no thread for each message.

Channels looks for stale database connections before it hands a consumer any event: that is done in a thread, and to go
there and back costs more than all else that happens to a message. A consumer that uses no database can do without.

On your own site: this method in your consumer, if neither it nor what it calls touches the database outside
`database_sync_to_async`, which closes stale connections itself. Upstream: docs/upstream/channels-dispatch.md.
"""

from channels.consumer import get_handler_name


class LeanDispatch:
    """For a consumer: calls the handler, and nothing else."""

    async def dispatch(self, message: dict) -> None:
        """Hand the event to the method that its type names."""
        if handler := getattr(self, get_handler_name(message), None):
            await handler(message)
