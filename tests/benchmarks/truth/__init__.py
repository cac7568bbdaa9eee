"""How true a load's bar and its time left are, by traces of real loads."""
