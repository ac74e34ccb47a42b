"""For all tests: hypothesis without deadlines, because these machines are noisy."""

from hypothesis import settings

settings.register_profile("course", deadline=None, derandomize=True, max_examples=50)
settings.load_profile("course")
