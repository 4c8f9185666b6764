"""The agent of the example: it knows who asks, greets them by name, and has a tool that only a manager may use."""

import re

from agentsocket import AgentError, Context, ToolCall, ToolResult, Turn, current_turn

ORDERS = {7: ("ada", "a lamp"), 8: ("bob", "two chairs"), 9: ("bob", "a rug")}
HELP = 'Ask "what did I order?", or "refund 8" if you are a manager.'


class Desk:
    """Made for each login, of whose person it is told."""

    title = "Help desk"
    description = "Knows your orders, and who may give money back."
    starters = ("Hello", "What did I order?", "Refund 8")

    def __init__(self, context: Context) -> None:
        if context.user is None:
            raise AgentError("The desk serves those who have logged in.")
        self._user = context.user

    async def run(self, message: str, turn: Turn) -> str:
        """Answer one message."""
        if number := re.search(r"refund\D*(\d+)", message.lower()):
            return await _call(turn, refund, order=int(number[1]))
        if "order" in message.lower():
            return await _call(turn, list_orders)
        return f"Hello {self._user.name}! {HELP}"


async def _call(turn: Turn, tool: object, **arguments: int) -> str:
    name = tool.__name__  # type: ignore[attr-defined]  # a function
    await turn.emit(ToolCall(tool_name=name, tool_kwargs=arguments))
    try:
        output = tool(**arguments)  # type: ignore[operator]
    except PermissionError as exc:
        await turn.emit(ToolResult(tool_name=name, tool_output=str(exc), is_error=True))
        return str(exc)
    await turn.emit(ToolResult(tool_name=name, tool_output=output))
    return str(output)


# A tool is anywhere, deep in a framework perhaps: whoever it runs for is asked of the turn, and never of the model.


def list_orders() -> str:
    """List the orders of whoever asks."""
    user = current_turn().context.user
    return ", ".join(f"{number}: {what}" for number, (whose, what) in ORDERS.items() if user and whose == user.id)


def refund(order: int) -> str:
    """Give the money of an order back; for managers."""
    user = current_turn().context.user
    if user is None or "manager" not in user.claims.get("roles", ()):
        raise PermissionError("Only a manager may refund an order.")
    return f"The money for order {order} is on its way back."
