"""The page, and who serves it."""
