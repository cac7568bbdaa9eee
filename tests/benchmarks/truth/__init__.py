"""How true progress and time left are: see ``__main__``."""
