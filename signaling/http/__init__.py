"""The thin HTTP shells around the core: WHIP (RFC 9725), WHEP, REST, and what they share."""
