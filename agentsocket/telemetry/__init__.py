"""What an operator sees: logs, and the watchdog."""
