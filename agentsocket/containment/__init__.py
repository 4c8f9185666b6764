"""What an agent may do to the process, and what comes of it: exits, forks, threads, cancels that it misses, the end."""
