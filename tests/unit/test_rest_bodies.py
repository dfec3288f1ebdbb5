from __future__ import annotations

from sealane_agent.oip.bodies import Bodies


def test_memory_is_used_again_for_a_body_of_the_same_size() -> None:
    bodies = Bodies()
    first = bodies.take(100)
    bodies.give(first)
    assert len(bodies.take(101)) == 101
    assert bodies.take(100) is first
    assert bodies.take(100) is not first


def test_memory_that_somebody_still_looks_at_is_left_alone() -> None:
    bodies = Bodies()
    first = bodies.take(100)
    view = memoryview(first)[10:20]
    bodies.give(first)
    assert bodies.take(100) is not first
    view.release()
    assert bodies.take(100) is first


def test_only_so_much_memory_is_kept() -> None:
    bodies = Bodies(idle_bytes=250)
    buffers = [bodies.take(100) for _ in range(3)]
    for buffer in buffers:
        bodies.give(buffer)
    found = [bodies.take(100) for _ in range(3)]
    assert found[:2] == [buffers[2], buffers[1]]
    assert found[2] is not buffers[0]
