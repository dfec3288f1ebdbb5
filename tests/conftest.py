"""Settings of every test: hypothesis judges what code does, never how fast the machine is."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

# Each process of a parallel run shares its core with others: slow generation is no fault there.
settings.register_profile("sealane", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("sealane")
