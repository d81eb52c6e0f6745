"""Recording on a Ray cluster of two nodes, one of which is killed in the middle."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

from metaft.recipes import design
from metaft.traces.plan import plan_runs
from metaft.traces.recorder import Progress, record

if TYPE_CHECKING:
    from metaft.traces.store import TraceStore
    from metaft.traces.trace import Trace

ray = pytest.importorskip("ray", reason="ray is not installed")
_SLOW = pytest.mark.timeout(600)  # Ray starts eight processes, each of which imports for seconds.
_STORE_MIB = 80  # the least that Ray takes


@pytest.fixture(scope="module")
def cluster() -> Iterator[Any]:
    """Return a cluster whose head runs no tasks, and which has two nodes of one core."""
    from ray.cluster_utils import Cluster

    memory = {"object_store_memory": _STORE_MIB << 20, "include_dashboard": False}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, **memory})
        try:
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


@_SLOW
def test_all_runs_are_stored_once_though_a_node_dies(
    cluster: Any, task_folder: str, backbone_folder: str, store: TraceStore
) -> None:
    nodes = [cluster.add_node(num_cpus=1, object_store_memory=_STORE_MIB << 20) for _ in range(2)]
    runs = plan_runs([task_folder], backbone_folder, design(8, 20), sizes=[16], seeds=1)
    killed: list[int] = []

    def kill_a_node(_: Trace, progress: Progress) -> None:
        if not killed:
            killed.append(progress.done)
            cluster.remove_node(nodes[0], allow_graceful=False)

    summary = record(
        runs,
        store,
        workers=2,
        engine="ray",
        address=cluster.address,
        offline=True,
        on_trace=kill_a_node,
    )
    assert killed
    assert killed[0] < len(runs)
    assert (summary.recorded, summary.left) == (len(runs), 0)
    assert summary.statuses == {"ok": len(runs)}
    assert len(store.traces()) == len(runs)
    assert store.claims.owners(store.ids()) == {}
