"""`block`: back-propagation through the last layers in a plain runtime, its checkpoints, and what a person keeps."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import numpy_block
import pytest

from earmark.engine.audio.files import read_audio
from earmark.engine.audio.samples import Float32
from earmark.engine.errors import InputError, LearningError, ModelError, PersonError
from earmark.engine.features.speech import Analysis
from earmark.engine.networks.card import MODELS_DIR
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.networks.speaker import SpeakerNetwork
from earmark.engine.networks.trained.kinds import BLOCK
from earmark.engine.networks.trained.last_layers import Trunk, embed
from earmark.engine.people import codec
from earmark.engine.people.store import PersonStore
from earmark.engine.people.voiceprint import ANY_PHRASE, TRAINED, Voiceprint
from earmark.engine.verifier import Verifier
from earmark.enroll.enrolment import Enroller
from earmark.enroll.learning.impostors import HomeImpostors
from earmark.enroll.learning.learn import Addition, Learner
from earmark.enroll.learning.retrain import remade
from earmark.enroll.options import as_they_are
from earmark.enroll.takes.varied import varied
from earmark.enroll.training import calibrate
from earmark.enroll.training.train import TakeEmbeddings
from earmark.enroll.training.trainers import block, impostors, registry
from earmark.enroll.training.trainers.flat import Batch, FlatNetwork, read_checkpoint, write_checkpoint

MOST_BYTES = 300_000  # of a person
MOST_MB = 250  # of a process that trains
RELATIVE = 1e-4  # of a gradient, against float64


@pytest.fixture(scope="module")
def network() -> FlatNetwork:
    return FlatNetwork(BLOCK)


@pytest.fixture(scope="module")
def trunk() -> Trunk:
    return Trunk()


@pytest.fixture(scope="module")
def batch(trunk: Trunk) -> Batch:
    """Eight rows of one person's takes and twenty strangers, as the frozen layers hear them."""
    strangers, others = impostors.load()
    rows = [trunk.activations(mel) for mel in (*others.mels[:8], *strangers.mels[:20])]
    x, valid = block.fitted(rows, 40)
    take = np.array([0, 0, 1, 1, 2, 2, 3, 3, *[-1] * 20], np.int32)
    return Batch(
        x, valid, np.r_[np.tile([1, 0.5], 4), np.ones(20)].astype(np.float32), take, (take >= 0).astype("f4")
    )


@pytest.fixture(scope="module")
def takes(speaker: SpeakerNetwork) -> list[TakeEmbeddings]:
    """Three takes of a synthetic voice, with one variation each, and elsewhere."""
    audio = Path(__file__).parents[2] / "audio"
    made = []
    for number, path in enumerate(sorted(audio.glob("slt_okay_nabu_enroll_*.flac"))[:3]):
        analysis = Analysis(np.pad(read_audio(path), 800))
        heard = speaker.hear_analysed(analysis)
        made.append(varied(speaker, analysis, heard.embedding, [0, number], 1))
    return made


# --- the layers in two parts


def test_both_parts_say_what_the_speaker_network_says(trunk: Trunk) -> None:
    """But for the runtime's rounding of activations to int8, which the second part does without."""
    strangers, _ = impostors.load()
    for mel, wanted in zip(strangers.mels[:8], strangers.embeddings):
        assert float(embed(trunk.start, trunk.activations(mel)) @ wanted) > 0.99


def test_the_file_s_forward_pass_is_that_of_numpy(network: FlatNetwork, trunk: Trunk, batch: Batch) -> None:
    network.initialize(block.flat(trunk.start))
    found = network.embed(batch.x, batch.valid)
    found /= np.linalg.norm(found, axis=1, keepdims=True)
    for row, x, valid in zip(found, batch.x, batch.valid):
        np.testing.assert_allclose(row, embed(trunk.start, x[valid > 0]), atol=2e-5)


def test_another_speaker_network_has_no_such_layers(tmp_path: Path) -> None:
    for name in ("speaker.json", "block.json"):
        (tmp_path / name).write_text((MODELS_DIR / name).read_text("utf-8"), "utf-8")
    card = json.loads((tmp_path / "speaker.json").read_text("utf-8"))
    (tmp_path / "speaker.json").write_text(json.dumps({**card, "sha256": "0" * 64}), "utf-8")
    with pytest.raises(ModelError, match="choose another trainer, or build `block` for it"):
        Trunk(tmp_path)


# --- gradients


def test_every_gradient_is_that_of_float64(network: FlatNetwork, trunk: Trunk, batch: Batch) -> None:
    network.initialize(block.flat(trunk.start))
    network.accumulate(batch)
    network.accumulate(batch)  # twice: it adds up
    found = block.unflat(network.summed / 2, trunk.start)._asdict()
    x, valid, weight, is_take = (part.astype(np.float64) for part in (*batch[:3], batch.is_take))
    weights = {name: values.astype(np.float64) for name, values in trunk.start._asdict().items()}
    wanted = numpy_block.passed(weights, x, valid, weight, batch.take, is_take)
    assert wanted.near_kink < 40, "of 1.4 million inputs of a relu"
    for name, gradient in wanted.by_weights.items():
        error = np.linalg.norm(found[name] - gradient) / np.linalg.norm(gradient)
        assert error <= RELATIVE, name


def test_the_reference_s_gradients_are_those_of_small_steps(rng: np.random.Generator) -> None:
    """The reference is written by hand, too."""
    shapes = {"transit": (5, 4), "transit_bias": (4,), "dense": (8, 3), "dense_bias": (3,)}
    weights = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    x, valid = rng.standard_normal((6, 7, 5)), np.ones((6, 7))
    valid[0, 5:] = 0
    take, is_take = np.array([0, 1, 2, -1, -1, -1]), np.array([1.0, 1, 1, 0, 0, 0])
    rest = (x, valid, np.array([1.0, 0.5, 1, 1, 1, 1]), take, is_take)
    gradients = numpy_block.passed(weights, *rest).by_weights
    for name, values in weights.items():
        along = rng.standard_normal(values.shape)
        both = [numpy_block.passed({**weights, name: values + step * along}, *rest).loss for step in (1e-6, -1e-6)]
        assert (both[0] - both[1]) / 2e-6 == pytest.approx(float((gradients[name] * along).sum()), rel=1e-5)


def test_training_makes_the_loss_smaller_and_the_pull_holds_it_back(
    network: FlatNetwork, trunk: Trunk, batch: Batch
) -> None:
    start, moved = block.flat(trunk.start), []
    for pull in (0.0, 10.0):
        network.initialize(start)
        losses = [network.step(batch, 1e-4, pull) for _ in range(3)]
        moved.append(float(np.linalg.norm(network.theta - start)))
        if not pull:
            assert losses[2] < losses[1] < losses[0]
    assert moved[1] < moved[0]


# --- checkpoints


def test_training_goes_on_from_a_checkpoint_to_the_same_bits(
    network: FlatNetwork, trunk: Trunk, batch: Batch, tmp_path: Path
) -> None:
    network.initialize(block.flat(trunk.start))
    for step in range(4):
        network.step(batch, 1e-4, 0.01)
        if step == 1:
            write_checkpoint(tmp_path / "two", network, step + 1)
    wanted = network.state()
    fresh = FlatNetwork(BLOCK)  # as another process would have it
    assert read_checkpoint(tmp_path / "two", fresh) == 2
    for _ in range(2):
        fresh.step(batch, 1e-4, 0.01)
    for name, values in fresh.state().items():
        np.testing.assert_array_equal(values, wanted[name], name)


def test_a_damaged_checkpoint_or_one_of_another_model_is_refused_and_the_weights_stay(
    network: FlatNetwork, trunk: Trunk, tmp_path: Path
) -> None:
    network.initialize(block.flat(trunk.start))
    write_checkpoint(tmp_path / "good", network, 7)
    content = (tmp_path / "good").read_bytes()
    header, _, arrays = content.partition(b"\n")
    other = json.dumps({**json.loads(header), "model_sha256": "1" * 64}).encode() + b"\n" + arrays
    before = network.theta
    for bad in (b"", content[:-1], content[: len(content) // 2], content[:-9] + b"x" * 9, other, b"{}\n" + arrays):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(InputError, match="begin anew"):
            read_checkpoint(tmp_path / "bad", network)
    np.testing.assert_array_equal(network.theta, before)
    with pytest.raises(InputError, match="begin anew"):
        read_checkpoint(tmp_path / "none", network)


@pytest.mark.parametrize("bad", [np.zeros(5, np.float32), np.full(677_778, np.nan, np.float32)])
def test_weights_that_do_not_fit_are_refused(network: FlatNetwork, bad: Float32) -> None:
    with pytest.raises(InputError, match="it must be"):
        network.initialize(bad)


def test_more_rows_than_there_are_places_are_refused(network: FlatNetwork, batch: Batch) -> None:
    many = Batch(*(np.concatenate([part, part]) for part in batch))
    with pytest.raises(ModelError, match="56 rows do not fit into 32"):
        network.step(many, 1e-4)


def test_it_trains_within_250_mb() -> None:
    program = (
        "import numpy as np\n"
        "from earmark.enroll.training.trainers.flat import Batch, FlatNetwork\n"
        "network = FlatNetwork('block')\n"
        "n, f = network.rows, network.frames\n"
        "network.initialize(np.full(network.size, 0.01, np.float32))\n"
        "x = np.random.default_rng(0).random((n, f, network.inputs), np.float32)\n"
        "take = np.arange(n, dtype=np.int32)\n"
        "network.step(Batch(x, np.ones((n, f), 'f4'), np.ones(n, 'f4'), take, (take < 14).astype('f4')), 1e-4)\n"
        "print(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert int(done.stdout) / 1024 < MOST_MB


# --- a person


@pytest.fixture(scope="module")
def person(enroller: Enroller, takes: list[TakeEmbeddings]) -> Voiceprint:
    """Trained in three steps; the guard was not asked."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(calibrate, "better_kind", lambda _trials: TRAINED)
        patch.setattr(calibrate, "leave_one_out", lambda *_: {})
        patch.setattr(block, "STEPS", 3)
        options = dataclasses.replace(as_they_are(), trainer=BLOCK)
        return enroller.enrol_takes("anna", takes, None, options).voiceprint


def test_a_person_is_small_and_is_read_back_to_the_same_scores(
    person: Voiceprint, enroller: Enroller, takes: list[TakeEmbeddings]
) -> None:
    files = codec.encode(person)
    assert sum(map(len, files.values())) <= MOST_BYTES
    read = codec.decode(files)
    assert (read.trainer, read.kind) == (BLOCK, TRAINED)
    mels = [take.mels[0] for take in takes]
    rows = np.array([take.clean for take in takes])
    scores = enroller.verifier.score(read, rows, mels=mels)
    np.testing.assert_array_equal(scores, enroller.verifier.score(person, rows, mels=mels))
    assert (scores >= read.threshold).all()


def test_who_is_not_heard_is_compared_by_the_plain_cosine(
    person: Voiceprint, enroller: Enroller, takes: list[TakeEmbeddings]
) -> None:
    rows = np.array([take.clean for take in takes])
    np.testing.assert_allclose(enroller.verifier.resembled(person, rows)[:, 0], rows @ person.centroid, atol=1e-6)
    heard = enroller.verifier.resembled(person, rows, [take.mels[0] for take in takes])
    assert not np.allclose(heard[:, 0], rows @ person.centroid, atol=1e-3)


def test_strangers_score_where_their_cosines_are(person: Voiceprint, enroller: Enroller) -> None:
    _, measured = impostors.load()
    both = enroller.verifier.resembled(person, measured.embeddings, measured.mels)[:, 0]
    trained, cosine = 2 * both - measured.embeddings @ person.centroid, measured.embeddings @ person.centroid
    assert float(np.median(trained)) == pytest.approx(float(np.median(cosine)), abs=1e-3)


def test_the_detector_takes_a_person_and_nobody_can_be_made_anew_without_sound(
    person: Voiceprint, enroller: Enroller, takes: list[TakeEmbeddings], tmp_path: Path
) -> None:
    store = PersonStore(tmp_path)
    store.save(person)
    verifier = Verifier.load(store, [])
    rows, mels = np.array([take.clean for take in takes]), [take.mels[0] for take in takes]
    scores = verifier.score(verifier.people[0], rows, mels=mels)
    np.testing.assert_allclose(scores, enroller.verifier.score(person, rows, mels=mels), atol=2e-3)
    with pytest.raises(PersonError, match="`earmark enroll anna --trainer block` again"):
        remade(store, "anna", ANY_PHRASE, enroller, KeywordNetwork)


def test_without_sound_or_with_others_it_is_refused(enroller: Enroller, takes: list[TakeEmbeddings]) -> None:
    options = dataclasses.replace(as_they_are(), trainer=BLOCK)
    silent = [dataclasses.replace(take, mels=()) for take in takes]
    with pytest.raises(InputError, match="hears the takes"):
        enroller.enrol_takes("anna", silent, None, options)
    with pytest.raises(InputError, match="does not train against others"):
        enroller.enrol("anna", [], None, options, others=[np.zeros(9, np.int16)])  # type: ignore[list-item]


def test_learning_on_from_embeddings_is_refused_with_what_to_do(person: Voiceprint, enroller: Enroller) -> None:
    addition = Addition(person.centroid, {"id": "1", "label": "anna"})
    with pytest.raises(LearningError, match="enrol 'anna' again"):
        Learner(enroller).with_takes(person, [addition], HomeImpostors.nobody(192))


def test_a_thin_product_is_the_nearest_of_its_rank(rng: np.random.Generator) -> None:
    matrix = (rng.standard_normal((30, 3)) @ rng.standard_normal((3, 20))).astype(np.float32)
    left, right = block.thin(matrix, 3)
    np.testing.assert_allclose(left @ right, matrix, atol=0.02)
    left, right = block.thin(matrix, 1)
    assert np.linalg.norm(matrix - left @ right) < np.linalg.norm(matrix)


def test_it_is_opened_once_for_all(enroller: Enroller) -> None:
    one, other = (registry.trainer_of(BLOCK, enroller.head, enroller.folder) for _ in range(2))
    assert one is other
    assert one.strangers() == impostors.load(enroller.folder)
