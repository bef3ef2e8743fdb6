"""What travels: typed messages, pickles with out-of-band buffers, sockets and keys."""
