"""Study cards: a question and what is varied to answer it, one YAML file each."""

from __future__ import annotations

import difflib
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import yaml

from metaft.errors import RecipeError, StudyError
from metaft.files import shipped_folder
from metaft.recipes import PLAIN, Recipe
from metaft.searching.space import SearchSpace
from metaft.studying.ways import check_way
from metaft.tasks.task import Modality

Size = Literal["full", "small"]
SIZES: tuple[Size, ...] = typing.get_args(Size)
METHOD = "method"
"""The one factor of a study that compares methods."""

ASKED, ASK_PRIOR = "learning_rate", "prior"
"""A recipe of a card may leave this field to the prior, by this value."""

_MODALITIES: tuple[Modality, ...] = typing.get_args(Modality)
_CARD_FIELDS = ("title", "question", "source", "convergence", *SIZES)
_VARIANT_FIELDS = (
    "tasks",
    "rows",
    "seeds",
    "backbones",
    "base",
    "factors",
    "one_at_a_time",
    "methods",
    "recipes",
    "search_space",
)


@dataclass(frozen=True)
class Settings:
    """Fields of a recipe, which may be others for texts than for images.

    Attributes:
        of_modality: Modality -> field -> value; a modality that is missing has no settings:
            what is set makes no sense for it.
    """

    of_modality: Mapping[Modality, Mapping[str, Any]]

    def of(self, modality: Modality) -> Mapping[str, Any] | None:
        """Return field -> value; None where the settings are none of this modality."""
        return self.of_modality.get(modality)


@dataclass(frozen=True)
class Variant:
    """A study at one size: its full grid, or a small one.

    Attributes:
        tasks: Selectors of tasks, or paths.
        rows: Training rows of each run, >= 1; a smaller task gives all it has.
        seeds: Runs of everything, with other seeds and other training rows, >= 1.
        backbones: Identities; empty for the default of each modality. Each task is run on all of
            them that take it.
        base: What every run has that its levels do not set.
        factors: Factor -> level -> its settings; the first level is the reference. Empty where
            methods are compared.
        one_at_a_time: Vary one factor while the others stay at their reference, instead of
            making every combination.
        methods: Names, the first is the reference; empty where factors are varied.
        recipes: Methods of the card's own: name -> what is set, for which the learning rate may
            be `prior`: what the prior suggests for the task.
        search_space: What the searches among the methods vary; None for what is usual.
    """

    tasks: tuple[str, ...]
    rows: int
    seeds: int
    backbones: tuple[str, ...]
    base: Settings
    factors: Mapping[str, Mapping[str, Settings]]
    one_at_a_time: bool
    methods: tuple[str, ...]
    recipes: Mapping[str, Settings]
    search_space: Mapping[Modality, SearchSpace] | None

    @property
    def levels(self) -> dict[str, tuple[str, ...]]:
        """Return factor -> its levels, the reference first; methods are levels of one factor."""
        if self.methods:
            return {METHOD: self.methods}
        return {factor: tuple(levels) for factor, levels in self.factors.items()}

    def base_recipe(self, modality: Modality) -> Recipe:
        """Return what every run has before its levels change it."""
        return PLAIN.with_settings(self.base.of(modality) or {})


@dataclass(frozen=True)
class StudyCard:
    """A question, and the grids that answer it.

    Attributes:
        name: Of its file.
        title: A few words.
        question: What the study asks.
        source: Where its numbers come from.
        convergence: Whether it is about how fast runs learn, so that curves are drawn.
        full, small: Its grid, and one for an idle quarter of an hour.
    """

    name: str
    title: str
    question: str
    source: str
    convergence: bool
    full: Variant
    small: Variant

    def variant(self, size: Size) -> Variant:
        """Return the study at a size."""
        return self.full if size == "full" else self.small


def studies_folder() -> Path:
    """Return the folder of the study cards that ship with metaft."""
    return shipped_folder("tasks") / "studies"


def shipped_studies() -> tuple[str, ...]:
    """Return the names of the study cards that ship with metaft, sorted."""
    return tuple(sorted(path.stem for path in studies_folder().glob("*.yaml")))


def find_card(name: str) -> StudyCard:
    """Read a study card, given by the name of a shipped one or as a file.

    Raises:
        StudyError: If there is none, or it is wrong.
    """
    if name.endswith((".yaml", ".yml")) or Path(name).is_file():
        return read_card(Path(name))
    known = shipped_studies()
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        raise StudyError(
            f"there is no study {name!r}; the studies are {', '.join(known)}",
            f"Write {near[0]}" if near else "Name one of these, or a file with .yaml at its end",
        )
    return read_card(studies_folder() / f"{name}.yaml")


def read_card(path: Path) -> StudyCard:
    """Read one study card.

    Raises:
        StudyError: If it cannot be read, or a field is unknown, missing or wrong.
    """
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise StudyError(
            f"the study card {path} cannot be read: {error}", "Give a YAML file"
        ) from error
    return _Reader(str(path)).card(path.stem, values)


@dataclass(frozen=True)
class _Reader:
    """Reads the fields of a card; `where` heads its messages."""

    where: str

    def card(self, name: str, values: Any) -> StudyCard:
        self._check_fields(values, "", _CARD_FIELDS, required=set(_CARD_FIELDS) - {"convergence"})
        for field in ("title", "question", "source"):
            self._demand(isinstance(values[field], str) and values[field].strip(), field, values)
        convergence = values.get("convergence", False)
        self._demand(isinstance(convergence, bool), "convergence", values, "true or false")
        return StudyCard(
            name=name,
            title=values["title"],
            question=" ".join(values["question"].split()),
            source=" ".join(values["source"].split()),
            convergence=convergence,
            full=self._variant("full", values["full"]),
            small=self._variant("small", values["small"]),
        )

    def _variant(self, size: str, values: Any) -> Variant:
        self._check_fields(values, size, _VARIANT_FIELDS, required={"tasks", "rows", "seeds"})
        at = _Reader(f"{self.where}, {size}")
        tasks = values["tasks"]
        if isinstance(tasks, str):
            tasks = [term.strip() for term in tasks.split(",") if term.strip()]
        at._demand(_are_texts(tasks) and tasks, "tasks", values, "a selector or a list of tasks")
        for field, most in (("rows", 10_000_000), ("seeds", 1000)):
            is_whole = isinstance(values[field], int) and not isinstance(values[field], bool)
            at._demand(
                is_whole and 1 <= values[field] <= most,
                field,
                values,
                f"a whole number from 1 to {most}",
            )
        backbones = values.get("backbones") or []
        at._demand(_are_texts(backbones), "backbones", values, "a list of backbones")
        alone = values.get("one_at_a_time", False)
        at._demand(isinstance(alone, bool), "one_at_a_time", values, "true or false")
        recipes = at._recipes(values.get("recipes"))
        variant = Variant(
            tasks=tuple(tasks),
            rows=values["rows"],
            seeds=values["seeds"],
            backbones=tuple(backbones),
            base=at._settings("base", values.get("base") or {}),
            factors=at._factors(values.get("factors")),
            one_at_a_time=alone,
            methods=at._methods(values.get("methods"), recipes),
            recipes=recipes,
            search_space=at._search_space(values.get("search_space")),
        )
        at._check_variant(variant)
        return variant

    def _factors(self, values: Any) -> dict[str, dict[str, Settings]]:
        if values is None:
            return {}
        if not isinstance(values, Mapping):
            raise self._wrong("factors", values, "factor: {level: {field: value}}")
        found = {}
        for factor, levels in values.items():
            if not isinstance(levels, Mapping) or len(levels) < 2:
                raise self._wrong(
                    f"the factor {factor!r}", levels, "two levels or more, the reference first"
                )
            found[str(factor)] = {
                str(level): self._settings(f"{factor}, {level}", settings or {})
                for level, settings in levels.items()
            }
        return found

    def _recipes(self, values: Any) -> dict[str, Settings]:
        if values is None:
            return {}
        if not isinstance(values, Mapping):
            raise self._wrong("recipes", values, "method: {field: value}")
        return {
            str(name): self._settings(f"recipes, {name}", settings or {}, may_ask=True)
            for name, settings in values.items()
        }

    def _methods(self, values: Any, recipes: Mapping[str, Settings]) -> tuple[str, ...]:
        if values is None:
            return ()
        if not _are_texts(values) or len(set(values)) < 2 or len(set(values)) < len(values):
            raise self._wrong("methods", values, "two different methods or more, in a list")
        for name in values:
            if name not in recipes:
                check_way(name, self.where)
        return tuple(values)

    def _search_space(self, values: Any) -> dict[Modality, SearchSpace] | None:
        if values is None:
            return None
        if not isinstance(values, Mapping):
            raise self._wrong("search_space", values, "field: [values], or so for text and image")
        of_modality = values if _is_split(values) else dict.fromkeys(_MODALITIES, values)
        try:
            return {
                modality: SearchSpace.from_mapping(of_modality[modality], "search_space")
                for modality in _MODALITIES
                if modality in of_modality
            }
        except RecipeError as error:
            raise StudyError(f"{self.where}: {error.problem}", error.cure) from error

    def _settings(self, name: str, values: Any, *, may_ask: bool = False) -> Settings:
        """Read settings, for both modalities or under `text` and `image` for each."""
        if not isinstance(values, Mapping):
            raise self._wrong(name, values, "field: value, or text: {...} and image: {...}")
        both = {field: value for field, value in values.items() if field not in _MODALITIES}
        parts = {modality: values.get(modality) for modality in _MODALITIES}
        for modality, part in parts.items():
            if part is not None and not isinstance(part, Mapping):
                raise self._wrong(f"{name}, {modality}", part, "field: value")
        found: dict[Modality, Mapping[str, Any]] = {
            modality: {**both, **(part or {})}
            for modality, part in parts.items()
            if part is not None or not _is_split(values)
        }
        for settings in found.values():
            asks = may_ask and settings.get(ASKED) == ASK_PRIOR
            self._check_recipe(name, {k: v for k, v in settings.items() if k != ASKED or not asks})
        return Settings(found)

    def _check_recipe(self, name: str, settings: Mapping[str, Any]) -> None:
        """Refuse unknown fields and values; what contradicts other fields is found later."""
        if "seed" in settings:
            raise StudyError(
                f"{self.where}, {name}: seed is {settings['seed']!r}; the seeds of a study are "
                "counted from 0",
                "Leave it out, and set seeds to how many are wanted",
            )
        for field, value in settings.items():
            try:
                SearchSpace.from_mapping({field: [value]}, f"{self.where}, {name}")
            except RecipeError as error:
                raise StudyError(f"{self.where}, {name}: {error.problem}", error.cure) from error

    def _check_variant(self, variant: Variant) -> None:
        """Refuse a variant that asks nothing, or whose levels contradict its base."""
        if bool(variant.factors) == bool(variant.methods):
            has = "both" if variant.factors else "neither"
            raise StudyError(
                f"{self.where}: it has {has} of factors and methods; allowed is one of them",
                "Vary factors, or compare methods",
            )
        for modality in _MODALITIES:
            base = self._recipe("base", PLAIN, variant.base.of(modality) or {})
            for factor, levels in variant.factors.items():
                for level, settings in levels.items():
                    self._recipe(f"{factor}, {level}", base, settings.of(modality) or {})

    def _recipe(self, name: str, base: Recipe, settings: Mapping[str, Any]) -> Recipe:
        try:
            return base.with_settings(settings)
        except RecipeError as error:
            raise StudyError(f"{self.where}, {name}: {error.problem}", error.cure) from error

    def _check_fields(
        self, values: Any, name: str, known: tuple[str, ...], required: set[str]
    ) -> None:
        place = f"{self.where}, {name}" if name else self.where
        if not isinstance(values, Mapping):
            raise StudyError(
                f"{place}: it holds {type(values).__name__}, not fields",
                "Write one `field: value` per line",
            )
        for field in values:
            if field not in known:
                near = difflib.get_close_matches(str(field), known, n=1)
                raise StudyError(
                    f"{place}: {field!r} is no field; the fields are {', '.join(known)}",
                    f"Write {near[0]}" if near else "Correct the name",
                )
        missing = [field for field in known if field in required and field not in values]
        if missing:
            raise StudyError(f"{place}: the field {missing[0]!r} is missing", "Add it")

    def _demand(
        self, is_sound: Any, field: str, values: Mapping[str, Any], allowed: str = "a text"
    ) -> None:
        if not is_sound:
            raise self._wrong(field, values.get(field), allowed)

    def _wrong(self, field: str, value: Any, allowed: str) -> StudyError:
        return StudyError(
            f"{self.where}: {field} is {value!r}; allowed is {allowed}", "Correct the value"
        )


def _is_split(values: Mapping[str, Any]) -> bool:
    """Say whether settings name the modality that they are of."""
    return any(modality in values for modality in _MODALITIES)


def _are_texts(values: Any) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)
