"""How true progress and time left are: see ``__main__``, and ``record``, which records real loads for it."""
