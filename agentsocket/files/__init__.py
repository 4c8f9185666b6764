"""Files of sessions: what clients upload, and what agents send."""
