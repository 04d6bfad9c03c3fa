"""What the service measures of itself, in Prometheus' text format."""

from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from recsys.types import Rung
from serving.live import LiveIndex
from serving.online import OnlineDesk

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
EVENTS = (1, 10, 100, 1_000, 10_000)
SIZES = (1, 2, 4, 8, 16, 32, 64, 128)


class Telemetry:
    """The counters and histograms of one service process; every process has its own registry."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Histogram(
            "recsys_request_seconds",
            "Time from a request's head to the end of its answer.",
            ["route", "status"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.stages = Histogram(
            "recsys_stage_seconds",
            "Time of a stage for one batch: wait (each call's, for the model thread), model (all of the answer), "
            "commit (of events), follow (of online features), then the engine's own: encode, dense, bm25, "
            "cross-encoder, each recommender by name.",
            ["stage"],
            buckets=SECONDS,
            registry=self.registry,
        )
        self.batches = Histogram(
            "recsys_batch_calls", "Calls answered together.", buckets=SIZES, registry=self.registry
        )
        self.commits = Histogram(
            "recsys_commit_events", "Events written together.", buckets=EVENTS, registry=self.registry
        )
        self.answers = Counter(
            "recsys_answers", "Answers by the rung that gave them.", ["route", "rung"], registry=self.registry
        )
        self.events = Counter(
            "recsys_events",
            "Events by what became of them: accepted, duplicate, refused.",
            ["result"],
            registry=self.registry,
        )
        self.follows = Counter(
            "recsys_online_events", "Events that were added to the online features.", registry=self.registry
        )
        self.served = Counter(
            "recsys_served_rows",
            "Rows of served features that were drawn for the log, by what became of them: kept, dropped (too many "
            "waited), failed (the disk is full, or the log fails).",
            ["result"],
            registry=self.registry,
        )
        self.inside = Gauge("recsys_requests_open", "Requests under way.", registry=self.registry)

    def follow(self, live: LiveIndex) -> None:
        """Tell age and state of a live index from now on."""
        self.registry.register(IndexCollector(live))

    def stage(self, name: str, seconds: float) -> None:
        """Note one stage's work for one batch."""
        self.stages.labels(name).observe(seconds)

    def batch(self, size: int, waits: list[float], seconds: float) -> None:
        """Note one batch: its calls, the seconds each waited, the seconds of its work."""
        self.batches.observe(size)
        self.stage("model", seconds)
        for wait in waits:
            self.stage("wait", wait)

    def answer(self, route: str, rung: Rung) -> None:
        """Note one answer."""
        self.answers.labels(route, rung.value).inc()

    def taken(self, accepted: int, *, duplicates: int, refused: int) -> None:
        """Note what became of a request's events."""
        for result, count in (("accepted", accepted), ("duplicate", duplicates), ("refused", refused)):
            self.events.labels(result).inc(count)

    def commit(self, events: int, seconds: float) -> None:
        """Note one commit of the event log."""
        self.commits.observe(events)
        self.stage("commit", seconds)

    def followed(self, events: int, seconds: float) -> None:
        """Note one step of the online features behind the event log."""
        self.follows.inc(events)
        self.stage("follow", seconds)

    def logged(self, result: str, rows: int) -> None:
        """Note what became of served rows that were drawn for the log."""
        self.served.labels(result).inc(rows)

    def online(self, desk: OnlineDesk) -> None:
        """Tell from now on how the online store does."""
        self.registry.register(OnlineCollector(desk))

    def waiting(self, count: Callable[[], int]) -> None:
        """Tell from now on how many events wait to be written."""
        Gauge("recsys_events_waiting", "Events that wait to be written.", registry=self.registry).set_function(count)

    def text(self) -> bytes:
        """All figures, as Prometheus reads them."""
        return generate_latest(self.registry)


class IndexCollector:
    """Reads the live index at the moment of asking."""

    def __init__(self, live: LiveIndex) -> None:
        self.live = live

    def collect(self) -> list[Metric]:
        """Age, readiness, failed exchanges and the versions that answer."""
        live = self.live
        rows = [
            GaugeMetricFamily("recsys_index_ready", "1 where an index can answer.", float(live.ready)),
            GaugeMetricFamily("recsys_index_age_seconds", "Time since the index that answers was built.", live.age),
            GaugeMetricFamily("recsys_index_stale", "1 where a newer index failed to load.", float(bool(live.failure))),
            GaugeMetricFamily("recsys_index_failures", "Indexes that failed to load so far.", float(live.failures)),
        ]
        if live.ready:
            manifest = live.engine.manifest
            info = GaugeMetricFamily(
                "recsys_index_info", "Always 1; the labels name what answers.", labels=["digest", "versions", "shop"]
            )
            info.add_metric([manifest.digest[:12], manifest.model_version, manifest.shop], 1.0)
            rows.append(info)
        return list(rows)


class OnlineCollector:
    """Reads at the moment of asking how the online store does."""

    def __init__(self, desk: OnlineDesk) -> None:
        self.desk = desk

    def collect(self) -> list[Metric]:
        """Whether it answers, how often it did not, and how far the features are behind the events."""
        up = GaugeMetricFamily("recsys_online_up", "1 where the online store answered last time.", labels=["part"])
        for part, failure in self.desk.failures().items():
            up.add_metric([part], float(failure is None))
        missed, behind = self.desk.histories.failures, self.desk.behind
        return [
            up,
            CounterMetricFamily("recsys_online_missed", "Reads that went on without stored histories.", missed),
            GaugeMetricFamily("recsys_online_behind", "Events that the online features do not know yet.", behind),
        ]
