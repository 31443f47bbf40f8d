"""What all tests share."""

from hypothesis import settings

# A deadline in milliseconds is a test of the machine's load, not of the code.
settings.register_profile("steady", deadline=None)
settings.load_profile("steady")
