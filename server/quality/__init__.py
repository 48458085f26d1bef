"""Who gets which layer, from what the line can carry. Pure: measurements and ``now`` in, a choice out."""
