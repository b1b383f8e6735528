"""Settings of the whole test suite."""

from hypothesis import settings

# Machines that run tests are shared: the time of a single example proves nothing.
settings.register_profile("shared-machine", deadline=None)
settings.load_profile("shared-machine")
