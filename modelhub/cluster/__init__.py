"""Several machines: Ray holds the nodes, each of which loads models as one machine does."""
