"""Who of several agents speaks: told each time that it is another one."""

from agentsocket.agent.contract import Turn
from agentsocket.protocol.events import AgentData


async def tell_handoff(turn: Turn, before: str, after: str) -> None:
    """Tell that one agent goes on where another one was."""
    await turn.emit(AgentData(name="handoff", data={"from": before, "to": after}))


class Speakers:
    """Agents that stand at places, one within another: the place of an inner one begins with that of the outer one.

    Two that run side by side stand at two places, and each is told of once.
    """

    def __init__(self, turn: Turn) -> None:
        self._turn = turn
        self._names: dict[tuple[str, ...], str] = {}
        self._last: tuple[str, ...] = ()

    async def speaks(self, name: str, place: tuple[str, ...] = ()) -> None:
        """Tell of a handoff, unless the same agent has spoken before, or nobody has."""
        if place == self._last and self._names.get(place) == name:
            return  # as nearly always
        is_back = len(place) < len(self._last)
        before = self._names.get(self._last) if is_back else self._before(place)
        known = self._names.get(place)
        self._names[place], self._last = name, place
        if before not in {None, name} and (known != name or is_back):
            await tell_handoff(self._turn, str(before), name)

    def _before(self, place: tuple[str, ...]) -> str | None:
        """The agent at this place, or the nearest around it; where there is none, the last one anywhere."""
        around = (self._names.get(place[:length]) for length in range(len(place), -1, -1))
        return next((name for name in around if name), self._names.get(self._last))
