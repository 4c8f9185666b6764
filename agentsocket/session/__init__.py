"""One login: its tasks, and the log of what was said. It knows no socket."""
