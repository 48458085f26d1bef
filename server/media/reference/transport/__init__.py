"""The way to and from one peer: the UDP socket, ICE-lite, DTLS and SRTP."""
