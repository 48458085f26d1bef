"""Light WebRTC clients in asyncio for WHIP and WHEP: ICE, DTLS, SRTP and counting, no decoding."""
