"""Reading weight files into the page cache, with an exact count of bytes."""
