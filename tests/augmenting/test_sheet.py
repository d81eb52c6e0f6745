from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from metaft.augmenting.measures import measure_effects
from metaft.augmenting.sheet import check_sheet_path, pairs_of, save_sheet
from metaft.augmenting.versions import Varied
from metaft.errors import UserError
from metaft.finetuning import text_augmentation
from metaft.recipes import Recipe
from metaft.tasks.task import Split

TEXT = "The old river was <b> near 7 kitchens, $not$ far; a very old planet under winter."


@pytest.fixture
def make_varied(tiny_text_backbone, tiny_image_backbone, tiny_task, monkeypatch):
    monkeypatch.setattr(text_augmentation, "LEAST_COSINE", -1.0)
    monkeypatch.setattr(text_augmentation, "MOST_COMMON_SHARE", 1.0)

    def build(names: str) -> Varied:
        if "flip" in names:
            task, backbone = tiny_task(rows=12, kind="image_classification"), tiny_image_backbone()
        else:
            task, backbone = tiny_task(rows=12), tiny_text_backbone()
            texts = (TEXT, *(task.train.texts or ())[1:])
            task = task.replaced(train=Split(labels=task.train.labels, texts=texts))
        recipe = Recipe(augmentation=names, augmentation_strength=0.3, max_length=64, image_size=32)
        return Varied.prepare(task, backbone, recipe)

    return build


def test_the_left_side_is_the_text_and_marks_say_what_was_done(make_varied) -> None:
    pairs = pairs_of(make_varied("synonyms+insertion+swap+deletion"), [0])
    assert [pair.method for pair in pairs] == [
        "synonyms", "insertion", "swap", "deletion", "together",
    ]  # fmt: skip
    own = {"synonyms": "replaced", "swap": "moved", "deletion": "gone"}
    for pair in pairs:
        assert "".join(span.space + span.text for span in pair.before) == TEXT
        if pair.method in own:
            marks = {span.mark for span in pair.before}
            assert marks == {"kept", own[pair.method]}
    inserted = next(pair for pair in pairs if pair.method == "insertion")
    assert {span.mark for span in inserted.before} == {"kept"}
    assert {span.mark for span in inserted.after} == {"kept", "inserted"}


@pytest.mark.parametrize("names", ["synonyms+swap", "flip+erasing+cutmix"])
def test_a_picture_shows_something(make_varied, tmp_path: Path, names: str) -> None:
    path = tmp_path / "sheet.png"
    save_sheet(path, make_varied(names), [], rows=3)
    pixels = np.array(Image.open(io.BytesIO(path.read_bytes())).convert("L"))
    assert min(pixels.shape) > 200
    assert 0.01 < (pixels < 200).mean() < 0.9


@pytest.mark.parametrize("names", ["synonyms+swap", "flip+erasing"])
def test_a_page_needs_nothing_beside_it(make_varied, tmp_path: Path, names: str) -> None:
    varied = make_varied(names)
    path = tmp_path / "sheet.html"
    save_sheet(path, varied, measure_effects(varied), rows=2)
    page = path.read_text()
    assert "embedding cosine" in page
    assert "src=" not in page.replace('src="data:', "")
    assert ('<mark class="moved">' in page) == ("swap" in names)
    if "swap" in names:
        assert "<b>" not in page
        assert "&lt;" in page


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"\.png or \.html"):
        check_sheet_path(tmp_path / "sheet.pdf")
