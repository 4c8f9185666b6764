"""Notes: what the person asked to be remembered, for as long as the conversation lasts."""

import re
from typing import Final

from agentsocket.agent.contract import Approval
from agentsocket.offline_agent.tool import TOOL_CONTEXT, ToolError
from agentsocket.protocol.events import InputRequired

MAX_NOTES = 100
MAX_NOTE = 500
"""Characters."""

_NO_TOPIC: Final = frozenset(("a", "an", "the", "my", "your", "our", "is", "are", "was", "were", "i", "of", "that"))


async def remember(note: str) -> str:
    """Keep a note for the rest of this conversation.

    Args:
        note: The note, in the person's own words; at most 500 characters.
    """
    notes = TOOL_CONTEXT.get().notes
    if len(note) > MAX_NOTE:
        raise ToolError(f"That note is too long for me: I keep up to {MAX_NOTE} characters of each.")
    if len(notes) >= MAX_NOTES:
        raise ToolError(f"I have {MAX_NOTES} notes already and cannot keep more; you can ask me to delete them all.")
    notes.append(note)
    return f'I will remember this for as long as our conversation lasts: "{note}".'


async def recall_notes(about: str = "") -> str:
    """Recall the notes kept in this conversation.

    Args:
        about: A few words that the notes must contain; empty for all notes.
    """
    topic = _words(about) - _NO_TOPIC
    found = [note for note in TOOL_CONTEXT.get().notes if topic <= _words(note)]
    if not found:
        return f"I have no note about {' '.join(about.split())}." if about else "I have no notes yet."
    listed = "; ".join(f'"{note}"' for note in found)
    return f"You asked me to remember {'this' if len(found) == 1 else f'{len(found)} things'}: {listed}."


async def delete_all_notes() -> str:
    """Delete all notes of this conversation, once the person has approved it."""
    context = TOOL_CONTEXT.get()
    # Notes that come while the person thinks are not among those that they were asked about.
    doomed = list(context.notes)
    if not doomed:
        return "There are no notes to delete."
    what = "your note" if len(doomed) == 1 else f"all {len(doomed)} notes"
    question = InputRequired(
        kind="approval",
        prompt=f"Shall I delete {what}? This cannot be undone.",
        tool_name=delete_all_notes.__name__,
        tool_kwargs={},
    )
    try:
        approval = Approval.read(await context.turn.ask(question))
    except TimeoutError:
        return f"Nobody answered in time, so I have kept {what}."
    if not approval.approved:
        return f"You did not approve it, so I have kept {what}."
    context.notes[:] = [note for note in context.notes if note not in doomed]
    return f"I have deleted {what}."


def _words(text: str) -> set[str]:
    return set(re.findall(r"\w+", text.lower()))
