"""What every test shares: hypothesis judges by behaviour, never by the clock."""

from hypothesis import settings

settings.register_profile("kongzhong", deadline=None)
settings.load_profile("kongzhong")
