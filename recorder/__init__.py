"""The archive: tap -> depacketize -> fragments -> segments -> manifest -> recover; library/ serves what came of it."""
