"""Windows of the same slot, release and arm are added; what only one of them knows stands."""

from dataclasses import replace

from sealane.telemetry.bins import Bins
from sealane.telemetry.merging import merge
from sealane.telemetry.types import Arm, ErrorKind, HostWindow, Level, Predictions, Window
from support.telemetry import START, plain_model, plain_window


def test_an_hour_of_minutes_counts_every_request() -> None:
    hour = plain_window()
    for minute in range(1, 60):
        hour = merge(hour, plain_window(minute=minute))
    (model,) = hour.models
    assert (hour.start, hour.seconds) == (START, 3600)
    assert model.requests == model.timings.latency.count == 6000
    assert hour.host == HostWindow(cpu=Level(60, 21_000, 350, 350))


def test_the_arms_of_a_split_stay_apart() -> None:
    split = replace(plain_model(5), arm=Arm.CANDIDATE)
    merged = merge(plain_window(), Window(START, 60, (split,)))
    assert [(model.arm, model.requests) for model in merged.models] == [
        (Arm.ACTIVE, 100),
        (Arm.CANDIDATE, 5),
    ]


def test_errors_are_added_by_kind() -> None:
    first = plain_model(errors={ErrorKind.FAILED: 2, ErrorKind.HUNG: 1})
    second = plain_model(errors={ErrorKind.FAILED: 3, ErrorKind.CRASHED: 1})
    (model,) = merge(Window(START, 60, (first,)), Window(START, 60, (second,))).models
    assert model.errors == {ErrorKind.FAILED: 5, ErrorKind.HUNG: 1, ErrorKind.CRASHED: 1}
    assert model.failed == 7


def test_predictions_and_inputs_are_added() -> None:
    first = plain_model(
        predictions=Predictions(classes=(1, 2), compared=3, disagreed=1),
        inputs={"x": Bins((1, 2))},
    )
    second = plain_model(
        predictions=Predictions(classes=(0, 0, 5), other_classes=1, compared=1),
        inputs={"x": Bins((0, 1), missing=1), "y": Bins((4,))},
    )
    (model,) = merge(Window(START, 60, (first,)), Window(START, 60, (second,))).models
    assert model.predictions == Predictions((1, 2, 5), 1, compared=4, disagreed=1)
    assert model.inputs == {"x": Bins((1, 3), missing=1), "y": Bins((4,))}


def test_what_a_machine_does_not_measure_stays_unknown() -> None:
    measured = HostWindow(temperature=Level(2, 110, 50, 60), throttled=0)
    merged = merge(Window(START, 60, (), HostWindow()), Window(START, 60, (), measured))
    assert merged.host == measured
    assert merge(Window(START, 60), Window(START, 60)).host is None


def test_levels_keep_their_mean_and_their_extremes() -> None:
    first = HostWindow(temperature=Level(2, -30, -20, -10), restarts=1)
    second = HostWindow(temperature=Level.of(30), restarts=2)
    merged = merge(Window(START, 60, (), first), Window(START, 60, (), second)).host
    assert merged is not None
    assert merged.temperature == Level(3, 0, -20, 30)
    assert merged.temperature.mean == 0.0
    assert merged.restarts == 3
