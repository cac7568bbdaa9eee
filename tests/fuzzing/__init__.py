"""Generated requests, packets and values: nothing of them is a 500, a traceback or the end of the server."""
