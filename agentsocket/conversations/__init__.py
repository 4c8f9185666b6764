"""Conversations: what was asked and answered, kept longer than any session."""
