"""Processes: a warm zygote, one forked child per model, and the launcher that the web process talks to."""
