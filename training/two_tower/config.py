"""Settings of the two-tower recommender."""

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationInfo, field_validator

from recsys.models.two_tower_config import FIRST, TwoTowerConfig
from training.config import FitConfig
from training.two_tower.products import Products


class TwoTowerSettings(FitConfig):
    """Settings of network, targets and negatives beside those of every gradient-trained stage.

    Attributes:
        profile: "sequence" reads histories as an order of events, "baskets" as a set of products whose latest
            purchases count most; each brings defaults (PROFILES) for what is not set. "auto" takes "baskets" where
            events come three or more at a time.
        text: whether the product tower reads the products' text; without it new products get no vector.
        features: whether the product tower reads brand, category path and price bucket.
        hashed: rows of the id table that all products share, for catalogues whose own would not fit; 0 gives each
            product its own.
        sparse: whether a step reads and writes the id table's rows that it meets alone, for catalogues of millions: a
            row then takes 4 x width + 8 bytes in training instead of 16 x width, and no step takes longer for them.
        user_attributes: whether the user tower reads what the users table says of a user: segment, locale, country and
            those of the shop's own attributes that have few values.
        attribute_dropout: share of these that are not read in a step, each by itself, so that users answer without.
        clock: whether the user's vector knows the hour and the weekday (UTC) of what follows, of the request if served.
        calendar: whether scores know what sold lately and what is new, as of the time of each event.
        id_dropout: share of products per step that are known by their text alone, so that text carries new ones.
        event_dropout: share of the history's events that are not read in a step.
        negatives: shared negatives of a step, at most as many as there are products.
        in_batch: whether the targets of the whole batch, in all processes, are negatives as well, corrected for how
            often they come.
        uniform: share of the negatives that are drawn uniformly; the rest follow popularity.
        popularity_power: exponent that flattens that popularity.
        repeats: whether products that a user already has count as something to predict.
        strongest: whether the first event with a product counts as much as the user's weightiest with it (by the shop's
            weights of views, cart additions and purchases), where repeats don't count.
        horizon: baskets (events of one timestamp) after each state that it learns to bring; 0 takes all later ones.
        states: states drawn from each history in an epoch; 0 takes all.
        basket_power: the n targets of a state weigh n ** -basket_power.
        half_life_days: in the first epoch, a target so much older than the newest counts half; 0 counts all alike.
        last_half_life_days: the same in the last epoch, geometrically between; 0 keeps the first.
        validation_users: users by whom the epoch is chosen, drawn by the seed; 0 takes all.
        update_epochs: epochs of an update, which goes on from a model (--init); `epochs` is for learning anew. A day
            adds little, so few passes do.
        update_rate: share of `learning_rate` in an update: its weights are good, and large steps from a few days'
            events would forget the rest.
        replay: share of the users whose older events are learned again in an update, beside what is new of all users;
            others are drawn each time.

    The others are those of `recsys.models.two_tower.TwoTowerConfig`.
    """

    profile: Literal["auto", "sequence", "baskets"] = "auto"
    epochs: Annotated[int, Field(ge=1)] = 16
    batch_size: Annotated[int, Field(ge=1)] = 256
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[float, Field(ge=0, le=1)] = 0.05
    patience: Annotated[int, Field(ge=0)] = 4

    width: Annotated[int, Field(ge=1)] = 128
    blocks: Annotated[int, Field(ge=0)] = 2
    heads: Annotated[int, Field(ge=1, validate_default=True)] = 2
    expansion: Annotated[int, Field(ge=1)] = 2
    length: Annotated[int, Field(ge=1)] = 50
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.3
    gated: bool = False
    positions: bool = True
    distances: bool = False
    spans: Annotated[int, Field(ge=0)] = 0
    distinct: bool = False
    pool: Literal["last", "mean"] = "last"
    similarity: Literal["inner", "cosine"] = "inner"
    temperature: Annotated[float, Field(gt=0)] = 0.05
    learned_temperature: bool = False

    text: bool = True
    features: bool = False
    user_attributes: bool = False
    attribute_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    clock: bool = False
    calendar: bool = False
    hashed: Annotated[int, Field(ge=0)] = 0
    hashes: Annotated[int, Field(ge=2, le=8)] = 2
    sparse: bool = False
    id_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.1
    event_dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    negatives: Annotated[int, Field(ge=1)] = 1024
    in_batch: bool = False
    uniform: Annotated[float, Field(gt=0, le=1)] = 0.5
    popularity_power: Annotated[float, Field(ge=0, le=1)] = 1.0
    repeats: bool = False
    strongest: bool = False
    horizon: Annotated[int, Field(ge=0)] = 1
    states: Annotated[int, Field(ge=0)] = 0
    basket_power: Annotated[float, Field(ge=0, le=1)] = 0.5
    validation_users: Annotated[int, Field(ge=0)] = 5000
    half_life_days: Annotated[float, Field(ge=0)] = 0.0
    last_half_life_days: Annotated[float, Field(ge=0)] = 0.0
    update_epochs: Annotated[int, Field(ge=1)] = 4
    update_rate: Annotated[float, Field(gt=0, le=1)] = 0.25
    replay: Annotated[float, Field(ge=0, le=1)] = 0.2

    @field_validator("heads")
    @classmethod
    def divides(cls, heads: int, info: ValidationInfo) -> int:
        """Refuse heads that would not be equally wide."""
        width, blocks = info.data.get("width", heads), info.data.get("blocks", 0)
        if blocks and width % heads:
            raise ValueError(f"a divisor of width = {width}")
        return heads

    def network(self, products: Products, *, attributes: tuple[int, ...] = ()) -> TwoTowerConfig:
        """The network's own settings for a vocabulary and the numbers of codes of users' attributes."""
        fields = type(self).model_fields
        own = {name: getattr(self, name) for name in TwoTowerConfig.__dataclass_fields__ if name in fields}
        known = {"text_width": products.text_width, "codes": products.sizes}
        values = 0 if products.calendar is None else products.calendar.values.shape[2]
        return TwoTowerConfig(
            rows=products.count + FIRST, **own | known | {"calendar": values, "attributes": attributes}
        )

    def resolved(self, *, basket: float, texts: bool = True) -> "TwoTowerSettings":
        """The settings with the defaults of a profile.

        Args:
            basket: mean number of a user's events that share a timestamp.
            texts: whether the products' texts say anything.
        """
        chosen = self.profile
        if chosen == "auto":
            chosen = "baskets" if basket >= BASKET else "sequence"
        given = {name: getattr(self, name) for name in self.model_fields_set}
        wordless = {} if texts else WORDLESS[chosen]
        return TwoTowerSettings.model_validate(PROFILES[chosen] | wordless | given | {"profile": chosen})

    def updating(self) -> "TwoTowerSettings":
        """The settings of an update: few epochs at a low rate, and targets weighed as where the training ended."""
        ended = {"half_life_days": self.last_half_life_days or self.half_life_days, "last_half_life_days": 0.0}
        slow = {"epochs": self.update_epochs, "learning_rate": self.learning_rate * self.update_rate}
        return self.model_copy(update=ended | slow)


BASKET = 3.0
PROFILES: dict[str, dict[str, Any]] = {
    "sequence": {"features": True, "gated": True, "batch_size": 128},
    "baskets": {
        "epochs": 20,
        "batch_size": 128,
        "learning_rate": 2e-3,
        "weight_decay": 0.1,
        "patience": 0,
        "blocks": 0,
        "pool": "mean",
        "positions": False,
        "distinct": True,
        "event_dropout": 0.5,
        "length": 256,
        "horizon": 0,
        "states": 2,
        "negatives": 3000,
        "half_life_days": 90.0,
        "last_half_life_days": 7.0,
    },
}
"""Defaults by profile: "sequence" was chosen on the validation events of a beauty shop's purchases, "baskets" on the
validation part of a wholesaler's orders."""
WORDLESS: dict[str, dict[str, Any]] = {
    "sequence": {"text": False, "id_dropout": 0.0, "epochs": 24, "negatives": 3000},
    "baskets": {"text": False, "id_dropout": 0.0},
}
"""The same where products have no texts that say anything: nothing stands in for an id that is left out, and ids alone
take more steps and more negatives to learn (job beauty-screening)."""
