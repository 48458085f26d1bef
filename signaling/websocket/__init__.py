"""The thin WebSocket shell around the core: one socket a page, snapshot first, then events."""
