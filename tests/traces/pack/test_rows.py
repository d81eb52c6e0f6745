from __future__ import annotations

import numpy as np
import pytest
import torch

from metaft.tasks.split import subsample
from metaft.traces.pack.manifest import PackedTask
from metaft.traces.pack.rows import arrays_of, task_from

_SAMPLES = [(8, 0), (16, 0), (16, 1), (30, 1)]  # 30 is all there is, in the task's own order


@pytest.mark.parametrize(
    ("kind", "classes"),
    [("classification", 3), ("pair_classification", 2), ("regression", 2)],
)
@pytest.mark.parametrize("sample", _SAMPLES)
def test_rows_come_back_as_a_recording_in_place_has_them(
    tiny_text_backbone, tiny_task, kind: str, classes: int, sample: tuple[int, int]
) -> None:
    task, backbone = tiny_task(rows=30, kind=kind, classes=classes), tiny_text_backbone()
    arrays = arrays_of(task, backbone, _SAMPLES, [(12, 96), (64, 96)])
    found = task_from(arrays, _packed(task, ((12, 96), (64, 96))), sample)
    expected = subsample(task, train_rows=sample[0], seed=sample[1])
    for name in ("train", "validation", "test"):
        rows, wanted = getattr(found, name), getattr(expected, name)
        assert rows.labels.dtype == wanted.labels.dtype
        assert np.array_equal(rows.labels, wanted.labels)
        for tokens in (12, 64):
            ours = backbone.encode(rows, max_length=tokens, image_size=96)
            theirs = backbone.encode(wanted, max_length=tokens, image_size=96)
            everything = np.arange(len(wanted))
            batches = [backbone.collate(e, everything) for e in (ours, theirs)]
            assert batches[0].keys() == batches[1].keys()
            assert all(torch.equal(batches[0][key], batches[1][key]) for key in batches[0])
            assert np.array_equal(ours.lengths, theirs.lengths)
    assert found.num_outputs == expected.num_outputs


def test_images_come_back(tiny_image_backbone, tiny_task) -> None:
    task = tiny_task(rows=12, kind="image_classification")
    backbone = tiny_image_backbone()
    arrays = arrays_of(task, backbone, [(4, 0)], [(128, 32)])
    found = task_from(arrays, _packed(task, ((128, 32),)), (4, 0))
    expected = subsample(task, train_rows=4, seed=0)
    ours = backbone.encode(found.train, max_length=128, image_size=32).columns["pixels"]
    theirs = backbone.encode(expected.train, max_length=128, image_size=32).columns["pixels"]
    assert torch.equal(ours, theirs)
    assert arrays["train.128.32.pixels"].dtype == np.uint8


def test_arrays_are_narrow_and_hold_each_row_once(tiny_text_backbone, tiny_task) -> None:
    arrays = arrays_of(tiny_task(rows=30), tiny_text_backbone(), _SAMPLES[:3], [(64, 96)])
    assert len(arrays["train.labels"]) < 8 + 16 + 16
    assert {a.dtype.itemsize for a in arrays.values()} == {1}  # fewer than 256 words and classes


def _packed(task, encodings) -> PackedTask:
    return PackedTask(
        name=task.name,
        kind=task.kind,
        metric=task.metric,
        label_names=task.label_names,
        fingerprint=task.fingerprint,
        file="",
        encodings=encodings,
    )
