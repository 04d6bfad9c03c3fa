"""A bundle's policy asks the recommenders in the order of what they reached on the validation part."""

from recsys.bundle.manifest import ComponentInfo
from training.compose import recommend_order


def test_recommenders_stand_in_the_order_of_their_validation_figures() -> None:
    reached = {"als": 0.1, "item_knn": 0.3, "two_tower": 0.2}
    measured = [ComponentInfo(name=name, metrics={"validation/ndcg@10": value}) for name, value in reached.items()]
    found = recommend_order([*measured, ComponentInfo(name="bpr"), ComponentInfo(name="popularity")])
    assert found == {"order": ["item-knn", "two-tower", "als", "bpr"]}
