from __future__ import annotations

import dataclasses

from metaft.prior.machines import Machine


def test_the_commonest_machine_is_told_apart_by_processor_and_precision(make_world) -> None:
    first, second, third = make_world(1, recipes=3).traces
    emulated = dataclasses.replace(first, precision="bf16")
    environment = dataclasses.replace(first.environment, cpu_model="another")
    newest = dataclasses.replace(first, environment=environment, created_at="2099-01-01T00:00:00")
    commonest = Machine.commonest([newest, emulated, second, third])
    assert commonest == Machine.of(second)
    assert commonest not in (Machine.of(newest), Machine.of(emulated))
