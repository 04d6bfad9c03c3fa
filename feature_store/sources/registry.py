"""All public data sets that `recsys import` knows, by name."""

from feature_store.sources.amazon_2014 import AMAZON_2014
from feature_store.sources.amazon_2018 import AMAZON_2018
from feature_store.sources.amazon_2023 import AMAZON_2023
from feature_store.sources.esci import ESCI
from feature_store.sources.hm import HM
from feature_store.sources.instacart import INSTACART
from feature_store.sources.movielens import MOVIELENS
from feature_store.sources.online_retail import ONLINE_RETAIL, ONLINE_RETAIL_II
from feature_store.sources.public_set import PublicSet
from feature_store.sources.retailrocket import RETAILROCKET
from feature_store.sources.wands import WANDS
from recsys.errors import UsageError

LISTED = (
    *(WANDS, ESCI, AMAZON_2014, AMAZON_2018, AMAZON_2023, ONLINE_RETAIL, ONLINE_RETAIL_II),
    *(INSTACART, RETAILROCKET, HM, MOVIELENS),
)
PUBLIC_SETS: dict[str, PublicSet] = {one.name: one for one in LISTED}


def public_set(name: str) -> PublicSet:
    """The data set of that name.

    Raises:
        UsageError: there is none.
    """
    if name not in PUBLIC_SETS:
        raise UsageError(
            f"no data set `{name}`", expected=f"one of {', '.join(PUBLIC_SETS)}", action="see `recsys import --list`"
        )
    return PUBLIC_SETS[name]
