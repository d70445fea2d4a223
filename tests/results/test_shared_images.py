import dataclasses
import json

from lt_bench.results.record import RunRecord
from lt_bench.results.shared_images import shared_words

SHARED = {"test in train": [30, 160], "test like train": [1234, 9000], "val near train": [2, 80], "test in val": [1, 160]}


def test_every_pair_of_splits_is_said_with_what_follows():
    assert shared_words({}) == ""
    assert shared_words(SHARED) == (
        "Splits are not independent: 30 of 160 test images (18.8 %) are also training images; 1,234 of 9,000 test images (13.7 %) have a near-identical one in training; "
        "1 of 160 test images (0.6 %) are also validation images; 2 of 80 validation images (2.5 %) are all but equal to one of training, as one image in two files or sizes. "
        "So accuracies are in part those of remembering, and too high; what validation chose was chosen on test images; validation chooses in part by remembering."
    )


def test_a_record_keeps_them_and_one_without_stays_as_it_was(builder):
    record, _ = builder.make()
    assert "shared" not in record.to_json()["cache"]
    assert RunRecord.from_json(record.to_json()).cache.shared == {}
    leaky = dataclasses.replace(record, cache=dataclasses.replace(record.cache, shared=SHARED))
    again = RunRecord.from_json(json.loads(json.dumps(leaky.to_json())))
    assert (again.cache.shared, again.id) == (SHARED, record.id)
