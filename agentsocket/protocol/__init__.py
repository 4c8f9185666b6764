"""The vocabulary of the wire: events, frames, errors, close codes. It knows no asyncio and no socket."""
