"""shop.toml: what a shop says about its tables."""

from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.engine.policy import ListRules
from recsys.errors import ShopError, UsageError
from recsys.settings import NAMELESS
from recsys.toml import read_toml
from recsys.types import EventType

CONFIG = "shop.toml"
FEATURES = "features.toml"
"""Features of the shop's own; see `feature_store.point_in_time.own`."""
STRICT = ConfigDict(extra="forbid", frozen=True)

SplitKind = Literal["time", "leave-one-out", "query-folds"]
TableName = Literal["products", "users", "events", "queries", "judgments"]

DEFAULT_WEIGHTS: dict[str, float] = {"view": 1.0, "click": 1.0, "add_to_cart": 3.0, "purchase": 5.0}


def known_zone(name: str) -> str:
    """The name of a time zone; ValueError where there is none of that name."""
    try:
        ZoneInfo(name)
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(f"no time zone {name}") from error
    return name


def free_name(name: str) -> str:
    """The name of a shop; ValueError where shops without a name have it."""
    if name == NAMELESS:
        raise ValueError(f"`{name}` is kept for shops without a name, choose another one")
    return name


class JudgmentConfig(BaseModel):
    """`[judgments]`: the grades' scale; the highest grade found is the best one where max_grade is not given."""

    model_config = STRICT

    max_grade: Annotated[float, Field(gt=0)] | None = None


class SplitConfig(BaseModel):
    """`[split]`: which protocol cuts train, validation and test.

    Attributes:
        kind: "time", "leave-one-out" or "query-folds"; by the shop's timestamps where not given.
        fold: which fifth of the queries is the test part.
        test_days: length of the test part of a time split, days.
        validation_days: length of the validation part before it, days. Where both default lengths would be all that a
            young shop has, whichever of the two is not given is a quarter of its history.
    """

    model_config = STRICT

    kind: SplitKind | None = None
    fold: Annotated[int, Field(ge=0, le=4)] = 0
    test_days: Annotated[float, Field(gt=0)] = 28.0
    validation_days: Annotated[float, Field(gt=0)] = 28.0


class QuarantineConfig(BaseModel):
    """`[quarantine]`: a table of which a larger share than `max_share` is set aside fails as a whole."""

    model_config = STRICT

    max_share: Annotated[float, Field(ge=0, le=1)] = 0.5


class QualityConfig(BaseModel):
    """`[quality]`: from where on `recsys validate` warns; with `--strict` a warning fails.

    Attributes:
        psi: population stability index of a column beside the last snapshot; see `feature_store.quality.drift.Limits`.
        js: Jensen-Shannon distance, base 2, likewise.
        ks: Kolmogorov-Smirnov statistic, likewise.
        max_age_days: age of the newest event, days; not given, the age is told and nothing warned of.
        max_drop: share of a table's rows that may go from one snapshot to the next.
        max_growth: factor by which a table may grow from one snapshot to the next.
        max_rate: factor by which a kind of event may come more or less often a day than in the snapshot's last 28 days.
        max_unknown: share of rows that may name a user or query whom no table knows; they are kept.
        max_copies: share of events that may be exact copies of another; they are kept.
        max_damaged: share of a column's texts that may be in a wrong encoding.
    """

    model_config = STRICT

    psi: Annotated[float, Field(gt=0)] = 0.25
    js: Annotated[float, Field(gt=0, le=1)] = 0.21
    ks: Annotated[float, Field(gt=0, le=1)] = 0.2
    max_age_days: Annotated[float, Field(gt=0)] | None = None
    max_drop: Annotated[float, Field(gt=0, le=1)] = 0.2
    max_growth: Annotated[float, Field(gt=1)] = 2.0
    max_rate: Annotated[float, Field(gt=1)] = 3.0
    max_unknown: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_copies: Annotated[float, Field(ge=0, le=1)] = 0.05
    max_damaged: Annotated[float, Field(ge=0, le=1)] = 0.001


class PromotionConfig(BaseModel):
    """`[promotion]`: whether a first model that beats its baseline may go live without a person."""

    model_config = STRICT

    bootstrap: bool = True


class PrivacyConfig(BaseModel):
    """`[privacy]`: whether user ids are replaced by keyed hashes wherever they come in.

    Attributes:
        mask_users: under one key of the shop; see `feature_store.masking`.
        pseudonyms: under a key for each user, which `recsys forget` destroys; see `feature_store.forgetting`.
    """

    model_config = STRICT

    mask_users: bool = False
    pseudonyms: bool = False

    @model_validator(mode="after")
    def one_of_both(self) -> "PrivacyConfig":
        """ValueError where both are asked for."""
        if self.mask_users and self.pseudonyms:
            raise ValueError("mask_users and pseudonyms are two ways to name users, choose one")
        return self


class EventsConfig(BaseModel):
    """`[events]`: how many days the event log keeps what is written out, and so knows an id again."""

    model_config = STRICT

    keep_days: Annotated[float, Field(ge=0)] = 30.0


class OnlineConfig(BaseModel):
    """`[online]`: which features are served as of the moment, and how long they last.

    Attributes:
        features: whether a night publishes them.
        only: their names; all that the shop can have where empty.
        ttl_days: after so many days without another publication all of them vanish, and histories on a server after so
            many without `recsys index`.
        idle_days: users, queries and pairs with which nothing happened for so many days are left out.
        log_share: of the answers of services, from 0 to 1, that they log for `recsys table parity`.
    """

    model_config = STRICT

    features: bool = False
    only: tuple[str, ...] = ()
    ttl_days: Annotated[float, Field(gt=0)] = 7.0
    idle_days: Annotated[float, Field(gt=0)] = 400.0
    log_share: Annotated[float, Field(ge=0, le=1)] = 0.0


class ShopConfig(BaseModel):
    """The whole of shop.toml; every key is optional.

    Attributes:
        name: prefix of the shop's registered models and folders.
        currency: of all prices without their own.
        timestamps: "order" where only each user's order is real: then there is no calendar.
        timezone: the zone of timestamps written without one, "Europe/Berlin"; without it they are refused.
        columns: for each table the shop's own name of a contract column: `[columns.events]` `timestamp = "ts"`.
        event_types: the shop's own names of event types: `[event_types]` `transaction = "purchase"`.
        weights: how much an event of each type says, above 0.
        lists: what all lists of recommendations hold to; `recsys index` writes it into the index.
    """

    model_config = STRICT

    name: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9_-]{0,63})?$"), AfterValidator(free_name)] = ""
    currency: str | None = None
    timestamps: Literal["calendar", "order"] = "calendar"
    timezone: Annotated[str, AfterValidator(known_zone)] | None = None
    columns: dict[TableName, dict[str, str]] = {}
    event_types: dict[str, EventType] = {}
    weights: dict[EventType, Annotated[float, Field(gt=0)]] = {}
    judgments: JudgmentConfig = JudgmentConfig()
    split: SplitConfig = SplitConfig()
    quarantine: QuarantineConfig = QuarantineConfig()
    quality: QualityConfig = QualityConfig()
    promotion: PromotionConfig = PromotionConfig()
    privacy: PrivacyConfig = PrivacyConfig()
    events: EventsConfig = EventsConfig()
    online: OnlineConfig = OnlineConfig()
    lists: ListRules = ListRules()

    @property
    def event_weights(self) -> dict[str, float]:
        """The weight of every event type that counts as interest."""
        given = {kind.value: weight for kind, weight in self.weights.items() if kind.value in DEFAULT_WEIGHTS}
        return DEFAULT_WEIGHTS | given

    @model_validator(mode="after")
    def days_are_told(self) -> "ShopConfig":
        """ValueError where lists count days and the shop has none."""
        shape = self.lists.shape
        asked = {"return_days": shape.return_days, "return_half_life": shape.return_half_life}
        named = [name for name, value in asked.items() if value is not None]
        if named and self.timestamps == "order":
            raise ValueError(f"lists.shape.{named[0]} counts days, and timestamps = 'order' has none; leave it out")
        return self


def load_config(shop: Path) -> ShopConfig:
    """Read shop.toml; a shop without one has the defaults.

    Raises:
        UsageError: there is no such folder.
        ShopError: the file can't be read or is no TOML, or a key or value is unknown.
    """
    if not shop.is_dir():
        raise UsageError(f"{shop} is no folder", expected="a shop folder", action="make one: recsys sample OUT")
    file = shop / CONFIG
    try:
        return ShopConfig.model_validate(read_toml(file) or {})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise ShopError(
            f"{file}: `{key}`: {first['msg']}",
            expected=f"keys among {', '.join(ShopConfig.model_fields)}",
            action="correct that key",
        ) from error
    except ValueError as error:
        raise ShopError(f"{file} {error}", expected="valid TOML", action="correct it") from error
