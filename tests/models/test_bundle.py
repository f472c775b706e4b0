"""Bundles: the same answer after a round trip, and nothing parsed before it is verified."""

import hashlib
import json
import os
import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import lightgbm as lgb
import numpy as np
import pytest

from models import bundle as bundles
from models.bundle import MANIFEST, BundleError, Champions
from tests.models.curves import FEATURES, fitted, rows

REFERENCE = {"median": {name: None if n == 0 else 0.1 + n for n, name in enumerate(FEATURES)}}
CARD = {"question": "late", "ledger_id": "L1", "metrics": [{"term_days": 0, "auc": None}]}
FILES = ("booster.txt", "features.json", "calibration.json", "reference.json", "card.json")


def written(folder: Path, question: str = "late") -> str:
    return bundles.write(folder, fitted(question), REFERENCE, CARD)


@pytest.fixture(scope="session")
def pristine(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundles")
    written(folder)
    return folder


@pytest.fixture
def kept(pristine, tmp_path) -> tuple[Path, str]:
    """Copy one bundle to damage: the folder of bundles, and its hash."""
    (sha256,) = [path.name for path in pristine.iterdir()]
    shutil.copytree(pristine, tmp_path / "bundles")
    return tmp_path / "bundles", sha256


@pytest.fixture
def no_parsing(monkeypatch) -> None:
    """Let LightGBM fail the test if it is asked to read a model."""

    def parse(*args: object, **kwargs: object) -> None:
        raise AssertionError("parsed before it was verified")

    monkeypatch.setattr(lgb, "Booster", parse)


def test_the_tail_of_the_payment_dates_is_kept_and_a_bundle_without_one_reads_as_named(tmp_path):
    named, chosen = fitted("late"), replace(fitted("late"), tail=0.15)
    first, second = (bundles.write(tmp_path, one, REFERENCE, CARD) for one in (named, chosen))
    assert first != second
    assert "interval_tail" not in json.loads((tmp_path / first / "calibration.json").read_bytes())
    assert [bundles.read(tmp_path, one).curve.tail for one in (first, second)] == [0.1, 0.15]


@pytest.mark.parametrize("question", ["late", "default"])
def test_a_round_trip_gives_the_same_probabilities_to_the_last_bit(tmp_path, question):
    curve, X = fitted(question), rows(300, seed=11)
    found = bundles.read(tmp_path, written(tmp_path, question))
    for term in (curve.shortest, 30, 33, curve.longest):
        terms = np.full(300, term, np.int32)
        np.testing.assert_array_equal(
            found.curve.probability(X, terms), curve.probability(X, terms)
        )
    assert replace(found.curve, booster=curve.booster) == curve
    assert (found.reference, found.card) == (REFERENCE, CARD)


def test_a_bundle_is_named_after_the_hash_of_its_manifest_of_hashes(kept):
    folder, sha256 = kept
    manifest = (folder / sha256 / MANIFEST).read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == sha256
    assert {path.name for path in (folder / sha256).iterdir()} == {MANIFEST, *FILES}
    for name, said in json.loads(manifest).items():
        data = (folder / sha256 / name).read_bytes()
        assert said == {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}


def test_the_same_content_has_the_same_hash(tmp_path):
    first, again = written(tmp_path / "a"), written(tmp_path / "b")
    assert first == again == written(tmp_path / "a")  # a second time in one place, too
    found = bundles.read(tmp_path / "a", first)
    assert bundles.write(tmp_path / "c", found.curve, found.reference, found.card) == first


def test_other_content_has_another_hash(tmp_path):
    curve = fitted()
    steeper = replace(curve, calibration=replace(curve.calibration, slope=np.nextafter(0.9, 1)))
    hashes = {
        written(tmp_path),
        written(tmp_path, "default"),
        bundles.write(tmp_path, fitted(rounds=39), REFERENCE, CARD),
        bundles.write(tmp_path, steeper, REFERENCE, CARD),
        bundles.write(tmp_path, replace(curve, longest=119), REFERENCE, CARD),
        bundles.write(tmp_path, curve, {"median": {}}, CARD),
        bundles.write(tmp_path, curve, REFERENCE, {**CARD, "ledger_id": "L2"}),
    }
    assert len(hashes) == 7


@pytest.mark.parametrize("place", ["first", "middle", "last"])
@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_one_flipped_bit_is_refused_before_anything_is_parsed(kept, no_parsing, name, place):
    folder, sha256 = kept
    file = folder / sha256 / name
    data = bytearray(file.read_bytes())
    data[{"first": 0, "middle": len(data) // 2, "last": -1}[place]] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match=f"{sha256[:12]}: {name} was changed"):
        bundles.read(folder, sha256)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_truncated_file_is_refused_before_anything_is_parsed(kept, no_parsing, name):
    folder, sha256 = kept
    file = folder / sha256 / name
    for length in (file.stat().st_size - 1, 0):
        os.truncate(file, length)
        with pytest.raises(BundleError, match=f"{name} was changed"):
            bundles.read(folder, sha256)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_missing_file_is_refused_before_anything_is_parsed(kept, no_parsing, name):
    folder, sha256 = kept
    (folder / sha256 / name).unlink()
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        bundles.read(folder, sha256)


@pytest.mark.parametrize("name", [*FILES, MANIFEST])
def test_a_renamed_file_is_refused_before_anything_is_parsed(kept, no_parsing, name):
    folder, sha256 = kept
    (folder / sha256 / name).rename(folder / sha256 / f"{name}.bak")
    with pytest.raises(BundleError, match=f"{name} cannot be read"):
        bundles.read(folder, sha256)


def test_two_files_that_changed_places_are_refused(kept, no_parsing):
    folder, sha256 = kept
    here = folder / sha256
    (here / "card.json").rename(here / "aside")
    (here / "reference.json").rename(here / "card.json")
    (here / "aside").rename(here / "reference.json")
    with pytest.raises(BundleError, match="was changed"):
        bundles.read(folder, sha256)


def test_a_file_that_does_not_belong_there_is_refused(kept, no_parsing):
    folder, sha256 = kept
    (folder / sha256 / "model.pkl").write_bytes(b"")
    with pytest.raises(BundleError, match=r"model\.pkl does not belong to it"):
        bundles.read(folder, sha256)


def test_a_manifest_made_to_fit_changed_files_is_refused(kept, no_parsing):
    folder, sha256 = kept
    here = folder / sha256
    card = (here / "card.json").read_bytes().replace(b"L1", b"L2")
    manifest = json.loads((here / MANIFEST).read_bytes())
    manifest["card.json"]["sha256"] = hashlib.sha256(card).hexdigest()
    (here / "card.json").write_bytes(card)
    (here / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(BundleError, match=f"{MANIFEST} was changed"):
        bundles.read(folder, sha256)


def test_a_bundle_under_another_name_is_refused(kept, no_parsing):
    folder, sha256 = kept
    other = sha256[::-1]
    (folder / sha256).rename(folder / other)
    with pytest.raises(BundleError, match=f"{MANIFEST} was changed"):
        bundles.read(folder, other)
    with pytest.raises(BundleError, match="cannot be read"):
        bundles.read(folder, sha256)


def test_a_curve_that_reads_features_in_another_order_is_refused(tmp_path, no_parsing):
    swapped = (FEATURES[1], FEATURES[0], *FEATURES[2:])
    sha256 = bundles.write(tmp_path, replace(fitted(), features=swapped), REFERENCE, CARD)
    with pytest.raises(BundleError, match="reads other features"):
        bundles.read(tmp_path, sha256)


def test_writing_over_a_damaged_bundle_is_refused(kept):
    folder, sha256 = kept
    (folder / sha256 / "card.json").write_text("{}")
    with pytest.raises(BundleError, match=r"card\.json was changed"):
        written(folder)


def test_a_figure_that_is_no_number_is_never_written(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        bundles.write(tmp_path, fitted(), REFERENCE, {"auc": float("nan")})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("survives", range(len(FILES) + 1))
def test_an_interrupted_write_leaves_no_half_bundle(tmp_path, monkeypatch, survives):
    write_through, done = bundles._write_through, []

    def interrupted(path: Path, data: bytes) -> None:
        if len(done) == survives:
            path.write_bytes(data[: len(data) // 2])
            raise KeyboardInterrupt
        done.append(path)
        write_through(path, data)

    monkeypatch.setattr(bundles, "_write_through", interrupted)
    with pytest.raises(KeyboardInterrupt):
        written(tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.undo()
    assert bundles.read(tmp_path, written(tmp_path)).card == CARD


def test_whoever_may_read_the_folder_may_read_its_bundles(tmp_path):
    tmp_path.chmod(0o755)
    before = os.umask(0o022)
    try:
        sha256 = written(tmp_path)
    finally:
        os.umask(before)
    assert (tmp_path / sha256).stat().st_mode & 0o055 == 0o055


# --------------------------------------------------------------------------------- the pointer file

OLD = Champions(late="a" * 64, default="b" * 64, policy="c" * 64, abstentions={})
NEW = Champions(
    late="d" * 64,
    default=None,
    policy="e" * 64,
    abstentions={"default": {"reason": "8 matured defaults", "events": 8, "floor": 50}},
)


@pytest.mark.parametrize("champions", [OLD, NEW])
def test_the_pointer_file_says_what_was_saved(tmp_path, champions):
    path = tmp_path / "home" / "champions.json"
    champions.save(path)
    assert Champions.load(path) == champions
    assert [file.name for file in path.parent.iterdir()] == ["champions.json"]


def test_a_reader_sees_the_old_or_the_new_champions_and_never_a_mix(tmp_path):
    path, seen, over = tmp_path / "champions.json", [], threading.Event()
    OLD.save(path)

    def look() -> Iterator[Champions]:
        while not over.is_set():
            yield Champions.load(path)

    reader = threading.Thread(target=lambda: seen.extend(look()))
    reader.start()
    for n in range(200):
        (NEW if n % 2 else OLD).save(path)
    over.set()
    reader.join()
    assert len(seen) > 20
    assert all(champions in (OLD, NEW) for champions in seen)


def test_an_interrupted_save_leaves_the_old_champions(tmp_path, monkeypatch):
    path = tmp_path / "champions.json"
    OLD.save(path)

    def interrupted(draft: Path, data: bytes) -> None:
        draft.write_bytes(data[:20])
        raise KeyboardInterrupt

    monkeypatch.setattr(bundles, "_write_through", interrupted)
    with pytest.raises(KeyboardInterrupt):
        NEW.save(path)
    assert Champions.load(path) == OLD


GOOD = {"late": "a" * 64, "default": None, "policy": "c" * 64, "abstentions": {}}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"champions"',
        b'{"late": "\xe9"}',  # not UTF-8
        b"{}",
        json.dumps({**GOOD, "extra": 1}).encode(),
        json.dumps({k: v for k, v in GOOD.items() if k != "policy"}).encode(),
        json.dumps({**GOOD, "late": 5}).encode(),
        json.dumps({**GOOD, "late": ""}).encode(),
        json.dumps({**GOOD, "late": "../../elsewhere"}).encode(),
        json.dumps({**GOOD, "policy": None}).encode(),
        json.dumps({**GOOD, "abstentions": []}).encode(),
        b"[" * 200_000,
        b'{"a":' * 100_000,
    ],
)
def test_a_damaged_pointer_file_is_refused(tmp_path, content):
    path = tmp_path / "champions.json"
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"champions\.json is damaged"):
        Champions.load(path)


def test_a_good_pointer_file_written_by_hand_is_read(tmp_path):
    path = tmp_path / "champions.json"
    path.write_text(json.dumps(GOOD))
    assert Champions.load(path) == Champions(**GOOD)


def test_no_pointer_file_yet_is_a_bundle_error(tmp_path):
    with pytest.raises(BundleError, match="cannot be read"):
        Champions.load(tmp_path / "champions.json")
