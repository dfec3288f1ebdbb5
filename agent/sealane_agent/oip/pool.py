"""A descriptor pool of our own for the package `inference`.

Every stock client registers that package in the default pool, and protobuf allows it once: with
ours apart, both can be imported by one process.
"""

from __future__ import annotations

from typing import Final

from google.protobuf.descriptor_pool import DescriptorPool

POOL: Final = DescriptorPool()
