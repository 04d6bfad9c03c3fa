from feature_store.snapshot import Snapshot


def test_a_snapshot_opens_by_folder(small_snapshot: Snapshot) -> None:
    opened = Snapshot.open(small_snapshot.path)
    assert opened.manifest == small_snapshot.manifest
    assert opened.interactions().height == sum(
        opened.interactions(part).height for part in ("train", "validation", "test")
    )
    assert set(opened.interactions()["part"].unique()) == {"train", "validation", "test"}
    assert set(opened.judgments()["part"].unique()) == {"train", "validation", "test"}
    assert len(opened.catalogue()) == 40
    assert opened.users().height == 30


def test_leave_one_out(ordered_snapshot: Snapshot) -> None:
    assert ordered_snapshot.interactions("test").height == 30
    assert ordered_snapshot.interactions("validation")["user_id"].n_unique() == 30
