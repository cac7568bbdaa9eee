"""The APIs of other programs, for the clients that people already have: shapes only."""
