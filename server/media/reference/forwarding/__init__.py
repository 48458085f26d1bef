"""From a clear packet of a publisher to sealed packets for everybody who follows it."""
