"""How hypothesis runs here: the same examples every time, few enough for every run of the suite."""

from hypothesis import HealthCheck, settings

EVERY_RUN = settings(
    max_examples=400,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
SEQUENCES = settings(EVERY_RUN, max_examples=40, stateful_step_count=40)
