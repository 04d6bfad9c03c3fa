"""From a definition to its values: the formulas that training and serving share."""

import numpy as np
from numpy.typing import NDArray

from feature_store.point_in_time.definitions import DAY, Age, Aggregate, Change, Distinct, Latest, Measure, Rate, Total
from feature_store.point_in_time.keys import Integers
from feature_store.point_in_time.partition import Partition
from feature_store.point_in_time.survey import Survey
from feature_store.point_in_time.values import MISSING, VALUES

Reals = NDArray[np.float64]


def value_of(of: Aggregate, partition: Partition, survey: Survey) -> Reals:
    """float64 [rows]: an aggregate's values, NaN where there is none."""
    instants = partition.asked.instants
    match of:
        case Total():
            return real(partition.total(of.measure, of.window), of.measure)
        case Distinct():
            return partition.distinct(of.measure, of.window).astype(np.float64)
        case Age():
            since = partition.instant(of.measure, first=of.end == "first")
            return np.where(since == MISSING, np.nan, (instants - since) / DAY)
        case Latest():
            return real(partition.latest(of.measure), of.measure)
        case Change():
            now = real(partition.latest(of.measure), of.measure)
            then = real(partition.latest(of.measure, partition.asked.earlier(of.window)), of.measure)
            return ratio(now, then) - 1.0
        case Rate():
            top, bottom = (real(partition.total(one, of.window), one) for one in (of.top, of.bottom))
            prior = survey.rate(of, instants) if of.strength else 0.0
            return ratio(top + of.strength * prior, bottom + of.strength)


def real(whole: Integers, measure: Measure) -> Reals:
    """float64 [rows]: what whole numbers of a measure stand for."""
    return np.where(whole == MISSING, np.nan, whole / VALUES[measure.value].scale)


def ratio(top: Reals, bottom: Reals) -> Reals:
    """float64 [rows]: top / bottom, NaN where bottom is 0."""
    return np.divide(top, bottom, out=np.full_like(top, np.nan), where=bottom != 0)
