"""The class: lessons, seats, their life; a synchronous core, thin shells (WHIP, WHEP, WebSocket, REST) around it."""
