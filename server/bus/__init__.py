"""The roles over Redis: leases and placements as hints, relay calls, a direct line for when Redis is gone."""
