"""SDP offer and answer (RFC 3264, RFC 9429, RFC 9725) turned into plane commands. Pure."""
