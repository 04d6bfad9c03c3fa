"""Every command's name, where its signature stands and its one-line help: read without importing any of them."""

from typing import NamedTuple


class Entry(NamedTuple):
    """One row of the command table."""

    target: str
    help: str
    panel: str


START, DATA, LEARN, REVIEW, USE = (
    "Start here",
    "From a shop's tables to a snapshot",
    "Learn and measure",
    "Review and release models",
    "Use",
)

COMMANDS: dict[str, Entry] = {
    "demo": Entry("serving.night_commands:demo", "Run the whole line on a made-up shop and show the results.", START),
    "sample": Entry("feature_store.commands:sample", "Write a made-up shop folder; no network needed.", START),
    "import": Entry(
        "feature_store.import_commands:import_set", "Turn a public data set's raw files into a shop folder.", DATA
    ),
    "validate": Entry("feature_store.commands:validate", "Check a shop folder; list what is set aside and why.", DATA),
    "doctor": Entry("feature_store.commands:doctor", "Say what a shop's data can support, tier by tier.", DATA),
    "events": Entry("feature_store.event_log.commands:events", "Take events into a shop's log; write them out.", DATA),
    "forget": Entry("feature_store.forgetting.commands:forget", "Delete users everywhere, for good.", DATA),
    "features": Entry("feature_store.commands:features", "Turn a shop folder into a training snapshot.", DATA),
    "table": Entry("feature_store.point_in_time.commands:table", "Compute features of rows, each as known then.", DATA),
    "adapt": Entry("training.commands:adapt", "Let a backbone read the shops' products before it is trained.", LEARN),
    "train": Entry("training.commands:train", "Train one stage and register the new model version.", LEARN),
    "evaluate": Entry("training.commands:evaluate", "Measure a registered model on a snapshot.", LEARN),
    "review": Entry("recsys.cli.registry_commands:review", "Show a version beside the champion.", REVIEW),
    "promote": Entry("recsys.cli.registry_commands:promote", "Make a version the champion.", REVIEW),
    "reject": Entry("recsys.cli.registry_commands:reject", "Refuse a version, with the reason.", REVIEW),
    "rollback": Entry("recsys.cli.registry_commands:rollback", "Go back to the champion before this one.", REVIEW),
    "history": Entry("recsys.cli.registry_commands:history", "List what was promoted, when and by whom.", REVIEW),
    "ledger": Entry("recsys.cli.registry_commands:ledger", "Verify the chained record of promotions.", REVIEW),
    "index": Entry("feature_store.commands:index", "Join the champions with today's catalogue.", USE),
    "search": Entry("serving.commands:search", "Search the shop's products.", USE),
    "recommend": Entry("serving.commands:recommend", "Recommend products to a user.", USE),
    "similar": Entry("serving.commands:similar", "List products like a given one.", USE),
    "nightly": Entry("serving.night_commands:nightly", "The main job: raw tables to everyone's recommendations.", USE),
    "batch": Entry("serving.night_commands:batch", "Write all users' recommendations from the live index.", USE),
    "serve": Entry("serving.commands:serve", "Start the online service.", USE),
}
