"""Who is there: how a login is proved, and what is known of whoever it is."""
