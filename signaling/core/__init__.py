"""The class as a synchronous core: commands and a ``now`` in, effects out. No clock, no socket, no await."""
