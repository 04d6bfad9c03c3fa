"""How the stages work together; a bundle carries its own policy, these are the defaults."""

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from recsys.errors import BundleError, IndexMismatchError

Fusion = Literal["score", "rank"]
Weight = Annotated[float, Field(ge=0.0)]
Temperature = Annotated[float, Field(gt=0.0)]


class SearchPolicy(BaseModel):
    """How a search joins its stages: score = bm25 · B + dense · D + cross_encoder · C + feedback · F.

    B is the BM25 score over the query's best BM25 score (0 to 1), D the cosine of query and product text (-1 to 1), C
    the cross-encoder's score (0 to 1), which the best `depth` products of the first two alone receive, and F how much
    a product's text resembles the best of these (0 to 1). With an image tower, a product's vector joins text and
    picture, and D is shown as what each of them adds. With `fusion = "rank"`, B and D are 61 / (60 + rank) instead, as
    in reciprocal rank fusion.

    Attributes:
        fusion: whether B and D stand for scores or for ranks.
        candidates: how many products BM25 and dense retrieval bring each; more where more are asked for.
        depth: how many of them the cross-encoder scores and the blender orders.
        bm25: weight of B, 0 or more.
        dense: weight of D, 0 or more.
        cross_encoder: weight of C, 0 or more, so that a product that was scored never falls below one that was not.
        feedback: weight of F, 0 or more; 0 leaves the stage out. It wants vectors and the cross-encoder.
        feedback_temperature: how far below the best score a product may stand and still speak, above 0; see
            `recsys.ranking.feedback`.
        off: what a search leaves out unless its stages are named: what has not been shown to earn its time. With the
            blender on, the sum is only where its score begins; see `recsys.ranking.blender`.
        good_only: whether searches show good matches alone, by the calibration's cut-off, unless the caller says
            otherwise.
        relaxations: how many other searches are tried at most for a query without a good match.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    fusion: Fusion = "score"
    candidates: int = Field(default=200, ge=1)
    depth: int = Field(default=50, ge=0)
    bm25: Weight = 0.5
    dense: Weight = 0.5
    cross_encoder: Weight = 1.0
    feedback: Weight = 0.0
    feedback_temperature: Temperature = 0.1
    off: tuple[Literal["dense", "cross_encoder", "blender"], ...] = ("blender",)
    good_only: bool = False
    relaxations: int = Field(default=4, ge=0)


class ListShape(BaseModel):
    """What a list of recommendations holds to, beside who brings it; what is left out changes nothing.

    Attributes:
        diversity: how much variety counts against relevance, 0 to 1 (maximal marginal relevance).
        per_category: at most so many products of one category.
        per_brand: at most so many of one brand.
        category_depth: parts of a category's path that tell it from others, from the top; 0 takes the whole path.
        price_band: prices from a to b times what the user usually buys; products without a price stay.
        available: leave out what is known to be sold out.
        return_days: a bought product may come back after so many days; wants a calendar.
        return_interval: it may come back after so many of its usual intervals between purchases; wants `repeat`.
        return_half_life: what was bought comes back little by little: half of its relevance after so many days, three
            quarters after twice as many. Where neither of the other two is set, it does not come before the first half
            is over. Wants a calendar.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    diversity: float = Field(default=0.0, ge=0.0, le=1.0)
    per_category: int | None = Field(default=None, ge=1)
    per_brand: int | None = Field(default=None, ge=1)
    category_depth: int = Field(default=0, ge=0)
    price_band: tuple[float, float] | None = None
    available: bool = False
    return_days: float | None = Field(default=None, ge=0.0)
    return_interval: float | None = Field(default=None, ge=0.0)
    return_half_life: float | None = Field(default=None, gt=0.0)

    @model_validator(mode="after")
    def _ordered(self) -> "ListShape":
        if self.price_band is not None and not 0 <= self.price_band[0] <= self.price_band[1]:
            raise ValueError(f"price_band from {self.price_band[0]:g} to {self.price_band[1]:g} holds no price")
        return self

    @property
    def plain(self) -> bool:
        """True where lists stay as the recommenders bring them."""
        return not self.diversity and {self.per_category, self.per_brand, self.price_band, self.return_half_life} == {
            None
        }

    @property
    def returns(self) -> bool:
        """True where a bought product may come back."""
        return {self.return_days, self.return_interval, self.return_half_life} != {None}

    def with_wishes(self, wishes: "ListShape | None") -> "ListShape":
        """The shape, where what the caller has set wins."""
        given = {} if wishes is None else wishes.model_dump(exclude_unset=True)
        return ListShape.model_validate(self.model_dump() | given)


class ListRules(BaseModel):
    """What a shop asks of all its lists of recommendations, by night and online: `[lists]` in shop.toml.

    Attributes:
        repeats: whether products that the user has bought may come back; None follows the model.
        shape: what lists hold to; what is left out follows the model. A request's own wishes win over both.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    repeats: bool | None = None
    shape: ListShape = ListShape()

    def over(self, policy: "RecommendPolicy") -> "RecommendPolicy":
        """The policy, where what the shop has set wins."""
        repeats = policy.repeats if self.repeats is None else self.repeats
        return policy.model_copy(update={"repeats": repeats, "shape": policy.shape.with_wishes(self.shape)})

    def told(self) -> dict[str, Any]:
        """What was set, as JSON holds it; empty where nothing was."""
        found: dict[str, Any] = self.model_dump(mode="json", exclude_unset=True)
        return found


class RecommendPolicy(BaseModel):
    """Which recommenders are asked, in which order.

    Attributes:
        order: personal recommenders, best first; those that the bundle lacks are passed over.
        repeat_order: the same where bought products may come back; empty follows `order`. The user's own history is
            "own-history-frequency" or "own-history-recency".
        blend: the tables in which the blend stands above them all, "repeats-excluded" or "repeats-allowed": those in
            which it has earned its place.
        similar: who brings the neighbours of a product, best first; "text" is the search's text vectors.
        repeats: whether products that the user has bought may come back where the caller does not say.
        shape: what lists hold to where the caller does not say.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    order: tuple[str, ...] = (
        *("two-tower", "item-knn", "als", "bpr", "bought-together", "category-popularity", "repeat"),
    )
    repeat_order: tuple[str, ...] = ()
    blend: tuple[str, ...] = ()
    similar: tuple[str, ...] = ("item-knn", "bought-together", "two-tower", "text")
    repeats: bool = False
    shape: ListShape = ListShape()


def search_policy(fields: Mapping[str, Any]) -> SearchPolicy:
    """The policy of a product-search bundle; BundleError where it makes no sense."""
    try:
        return SearchPolicy.model_validate(dict(fields))
    except ValidationError as error:
        raise broken(error) from None


def recommend_policy(fields: Mapping[str, Any]) -> RecommendPolicy:
    """The policy of a recommender bundle; BundleError where it makes no sense."""
    try:
        return RecommendPolicy.model_validate(dict(fields))
    except ValidationError as error:
        raise broken(error) from None


def list_rules(fields: Mapping[str, Any]) -> ListRules:
    """The rules that an index keeps; IndexMismatchError where this release does not know them."""
    try:
        return ListRules.model_validate(dict(fields))
    except ValidationError as error:
        raise IndexMismatchError(
            f"rules for lists that this release does not know: {error.errors()[0]['msg']}",
            expected="an index of this release",
            action="build it again with `recsys index SHOP`",
        ) from None


def broken(error: ValidationError) -> BundleError:
    """The error for a policy that can't be followed."""
    first = error.errors()[0]
    place = ".".join(str(part) for part in first["loc"])
    return BundleError(
        f"policy {place}: {first['msg']}", expected="a policy as training writes it", action="train it again"
    )
