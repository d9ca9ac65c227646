"""Small changes that make earmark wrong, each of which some test must notice; `mutations.py` tries them.

A change is one that a tired hand could make: an edge moved by one, a mean for a median, the wrong one of two. Each
`old` occurs exactly once in its file (tests/test_mutations.py); who changes such a line changes its entry here.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One change of one line."""

    file: str
    """From the root of the repository."""
    old: str
    new: str
    what: str
    """What is wrong then."""
    tests: tuple[str, ...]
    """Names of the test files that should notice, without their folders; they are tried first."""
    equivalent_because: str = ""
    """Why it may survive: nothing that anybody could see is different. Empty: it may not."""


VERIFIER = "engine/verifier.py"
CROWD = "engine/networks/crowd.py"
DETECTOR = "engine/detector.py"
DECISION = "engine/decision.py"
ACTIVITY = "engine/features/activity.py"
FOLLOWING = "engine/features/following.py"
CONFIRMATION = "engine/confirmation.py"
SPEAKER = "engine/networks/speaker.py"
POLICY = "engine/settings/policy.py"
CALIBRATE = "enroll/training/calibrate.py"
ENROLMENT = "enroll/enrolment.py"
VOICES = "enroll/takes/voices.py"
IMPOSTORS = "enroll/learning/impostors.py"
LEARN = "enroll/learning/learn.py"
RATES = "enroll/evaluation/error_rates.py"
STORE = "engine/people/store.py"
TRANSACTION = "engine/people/transaction.py"
BUNDLE = "engine/people/bundle.py"
JOURNAL = "engine/history/journal.py"
QUEUE = "engine/history/queue.py"
OUTBOX = "engine/sinks/base.py"

_CONFIRMATION = ("test_confirmation.py",)
_FOLLOWING = ("test_following.py",)
_CALIBRATE = ("test_calibrate.py",)
_ENROLMENT = ("test_enrolment.py",)
_VOICES = ("test_voices.py",)
_IMPOSTORS = ("test_impostors.py",)
_LEARN = ("test_learn.py",)
_RATES = ("test_error_rates.py",)
_STORE = ("test_store.py", "test_operations.py")
_LOOKS = ("test_looks.py",)
_BUNDLE = ("test_bundle.py",)
_JOURNAL = ("test_journal.py",)
_QUEUE = ("test_queue.py",)
_OUTBOX = ("test_outbox.py",)

DECIDING = (
    # --- the verifier
    Mutation(
        VERIFIER,
        "key=lambda n: scores[n] - thresholds[n])",
        "key=lambda n: scores[n])",
        "of two people the higher score wins, not the larger margin",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "best = max(sorted(scores), key=lambda n: scores[n] - thresholds[n])",
        "best = max(sorted(scores), key=lambda n: scores[n] - people[n].threshold)",
        "who wins does not follow the people's sensitivities",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "known = scores[best] >= thresholds[best]",
        "known = scores[best] > thresholds[best]",
        "a score equal to the threshold is not known",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "known = scores[best] >= thresholds[best]",
        "known = scores[best] >= people[best].threshold",
        "the sensitivity of the voices changes nothing",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "return min(1.0, score + allowance(person, heard.snr_db))",
        "return score + allowance(person, heard.snr_db)",
        "a score is not capped at 1",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "return min(1.0, score + allowance(person, heard.snr_db))",
        "return min(1.0, score)",
        "noise is not allowed for",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "as_enrolled = any(score >= enrolled",
        "as_enrolled = all(score >= enrolled",
        "everybody must be known as enrolled, or it counts as the sensitivity's work",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "as_enrolled = any(score >= enrolled",
        "as_enrolled = any(score > enrolled",
        "a score equal to the enrolled threshold counts as the sensitivity's work",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "            known != as_enrolled,",
        "            known and not as_enrolled,",
        "who is unknown only by the sensitivity is not named so",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "            loose_share_of(person),",
        "            LOOSE_SHARE,",
        "the verdict has not the own loose cutoff of who was found",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "return min(map(loose_share_of, self.enrolled(keyword)), default=None)",
        "return max(map(loose_share_of, self.enrolled(keyword)), default=None)",
        "the highest loose cutoff counts, not the lowest",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "return min(map(loose_share_of, self.enrolled(keyword)), default=None)",
        "return min(map(loose_share_of, self.people), default=None)",
        "the loose cutoff of a word counts people of other words",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "person.keyword in (keyword, ANY_PHRASE)",
        "person.keyword == keyword",
        "who is enrolled for any phrase is not asked",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "ALLOWANCE_PER_DB = 0.003",
        "ALLOWANCE_PER_DB = 0.004",
        "noise is allowed for by a third more",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "CLEAN_DB = 20.0",
        "CLEAN_DB = 25.0",
        "a try of 20 dB does not count as clean",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "max(0.0, takes_db - max(0.0, snr_db))",
        "max(0.0, takes_db - snr_db)",
        "the allowance for noise has no end",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "max(0.0, takes_db - max(0.0, snr_db))",
        "(takes_db - max(0.0, snr_db))",
        "who is cleaner than the takes loses score",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "WITHOUT_ELSEWHERE = 1 / 3",
        "WITHOUT_ELSEWHERE = 1 / 2",
        "cosine and head weigh the same for people of before",
        ("test_verifier.py",),
    ),
    Mutation(VERIFIER, "HEAD_SHARE = 0.5", "HEAD_SHARE = 0.4", "the head weighs less", ("test_verifier.py",)),
    Mutation(
        VERIFIER,
        "heard.embedding[None], open_to(heard), ",
        "heard.embedding[None], PLAIN, ",
        "every try is compared as a clean one",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        " - handicaps()[: len(person.offsets)]",
        "",
        "a prototype by condition has no handicap",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "return self.lined if person.by_telephone else self.plain",
        "return self.plain",
        "who enrolled by telephone is known by telephone alone",
        ("test_prototypes.py",),
    ),
    Mutation(
        CALIBRATE,
        "    if len(lined):\n        return lined\n",
        "",
        "strangers who call get in where the takes came by telephone",
        ("test_prototypes.py",),
    ),
    Mutation(
        VERIFIER,
        "person.threshold + decades * DECADE[person.kind]",
        "person.threshold",
        "the promise is of each alone, whatever the settings say",
        ("test_verifier.py",),
    ),
    Mutation(
        "engine/networks/conditions.py",
        "heard.snr_db < NOISY_DB",
        "heard.snr_db <= NOISY_DB",
        "a try at the limit counts as noisy",
        ("test_conditions.py",),
    ),
    Mutation(
        "engine/networks/conditions.py",
        '"noisy line": narrow and noisy,',
        '"noisy line": narrow,',
        "a telephone in a quiet room is compared with one in noise",
        ("test_conditions.py",),
    ),
    Mutation(
        CALIBRATE,
        "return max(LOWEST_OFFSET, ",
        "return max(-1.0, ",
        "what is given for being unlike the cohort has no end",
        ("test_calibrate.py",),
    ),
    Mutation(
        VERIFIER,
        "        head.set_weights(person.weights)\n",
        "",
        "everybody is judged by the head of who was asked before",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "DECADE = {COSINE: 0.07, TRAINED: 0.08}",
        "DECADE = {COSINE: 0.08, TRAINED: 0.07}",
        "the two decades are exchanged",
        ("test_verifier.py",),
    ),
    Mutation(VERIFIER, "- np.float32(person.threshold)", "", "a margin is a score", ("test_verifier.py",)),
    Mutation(
        VERIFIER,
        "others = Verifier(people, self._speaker, self._head, self._folder, self._delegate)",
        "others = Verifier(people, folder=self._folder, delegate=self._delegate)",
        "other people open the networks again",
        ("test_verifier.py",),
    ),
    Mutation(
        VERIFIER,
        "if most[n] < min(nearest + thresholds[n], enrolled[n]):",
        "if most[n] < nearest + thresholds[n] + 0.2:",
        "of many people who could still be the nearest one is not asked",
        ("test_verifier.py",),
    ),
    Mutation(
        CROWD,
        "- self._moved * np.linalg.norm(apart)",
        "",
        "a bound of many people forgets that training has moved their heads",
        ("test_crowd.py",),
    ),
    Mutation(
        CROWD,
        "apart = embedding - self.start.centre",
        "apart = embedding",
        "a bound of many people forgets the centre of the head",
        ("test_crowd.py", "test_verifier.py"),
    ),
    # --- the detector
    Mutation(
        DETECTOR,
        "            decision.set_cutoffs(cutoff, loose_cutoff)\n",
        "",
        "an update does not change the cutoffs of a word that is heard already",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "decision.set_cutoffs(cutoff, loose_cutoff)",
        "decision.set_cutoffs(cutoff, None)",
        "an update takes the loose cutoff away",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "cutoff = self._policy.cutoff(manifest.name, manifest.probability_cutoff)\n",
        "cutoff = manifest.probability_cutoff\n",
        "the sensitivity of the words changes nothing",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "loose_cutoff = None if share is None else share * cutoff",
        "loose_cutoff = None if share is None else share * manifest.probability_cutoff",
        "the loose cutoff does not follow the sensitivity",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "        self._verifier = verifier\n",
        '        self._verifier = getattr(self, "_verifier", verifier)\n',
        "other people are not asked until a restart",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "else Policy(mode=policy)\n",
        'else getattr(self, "_policy", Policy(mode=policy))\n',
        "a mode alone does not replace the policy",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "        known = {id(network): decision for network, decision in self._channels}\n",
        "        known: dict[int, KeywordDecision] = {}\n",
        "an update forgets what the words have heard",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "                first_frame=self._frontend.frames,\n",
        "",
        "a word that comes later counts from the start of the stream",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "            self._frontend.skip(skipped)\n",
        "            pass\n",
        "what was left out is not counted for words that come later",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "            decision.skip(skipped)\n",
        "",
        "what was left out is not counted",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "FLUSH_SAMPLES = RATE_HZ // 2",
        "FLUSH_SAMPLES = RATE_HZ // 8",
        "an eighth of a second of silence ends a stream",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "FLUSH_SAMPLES = RATE_HZ // 2",
        "FLUSH_SAMPLES = RATE_HZ // 4",
        "a quarter of a second of silence ends a stream",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "audible = not candidate.weak or candidate.score > verdict.loose_share * cutoff",
        "audible = True",
        "a person is heard at the loose cutoff of another",
        ("test_loose_cutoff.py",),
    ),
    Mutation(
        DETECTOR,
        "candidate.score > verdict.loose_share * cutoff",
        "candidate.score > verdict.loose_share * published",
        "a person's loose cutoff does not follow the sensitivity",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        "candidate.sample < self._quiet_until.get(candidate.keyword, 0)",
        "candidate.sample <= self._quiet_until.get(candidate.keyword, 0)",
        "the refractory time is a sample longer",
        ("test_detector.py",),
    ),
    Mutation(
        DETECTOR,
        '            accepted = known or mode != "only"\n',
        '            accepted = known or mode == "label"\n',
        "the mode prefer rejects",
        ("test_policy.py", "test_detector.py"),
    ),
    Mutation(
        DETECTOR,
        "        if candidate.weak and not accepted and not self.near_misses:\n            return []\n",
        "",
        "near misses are told to who does not ask",
        ("test_loose_cutoff.py",),
    ),
    # --- the command after a wake word
    Mutation(
        CONFIRMATION,
        "    if best.margin < 0:\n",
        "    if best.margin < -1:\n",
        "any command confirms the wake",
        _CONFIRMATION,
    ),
    Mutation(
        CONFIRMATION,
        "score = min(together, command + allowed[count])",
        "score = together",
        "a stranger's command passes after the owner's wake",
        _CONFIRMATION,
    ),
    Mutation(
        CONFIRMATION,
        "score = min(together, command + allowed[count])",
        "score = command + allowed[count]",
        "the wake word counts for nothing",
        _CONFIRMATION,
    ),
    Mutation(
        CONFIRMATION,
        "np.flatnonzero(alone >= threshold + ANOTHER_VOICE)",
        "np.flatnonzero(alone >= -2)",
        "a television that goes on changes whose command it is",
        _CONFIRMATION,
    ),
    Mutation(
        CONFIRMATION,
        "    if 2 * len(best.own) < len(pieces):\n",
        "    if not best.own:\n",
        "a command that is mostly another's is one's own",
        _CONFIRMATION,
    ),
    Mutation(
        CONFIRMATION,
        "if person.name not in by_speech]",
        "]",
        "who gave free speech is asked by the wake word, too",
        _CONFIRMATION,
    ),
    Mutation(
        DETECTOR,
        "events += self._confirm(self._gate.heard_at(candidate.sample + candidate.waited_samples))",
        "events += self._confirm(self._ring.end)",
        "whether another wake ends a command depends on the cut",
        _CONFIRMATION,
    ),
    Mutation(
        FOLLOWING,
        "self._heard >= SHORT_TILES else",
        "self._heard else",
        "the last sound of the wake word is a command",
        _FOLLOWING,
    ),
    Mutation(
        FOLLOWING,
        "(self._tiles - self._quiet) * TILE_SAMPLES",
        "self._tiles * TILE_SAMPLES",
        "the pause behind a piece counts as speech",
        _FOLLOWING,
    ),
    Mutation(
        "enroll/free_speech.py",
        "if groups is not None or odd",
        "if odd",
        "free speech by somebody else is learned",
        ("test_free_speech.py",),
    ),
    Mutation(
        ACTIVITY,
        "begin < hop <= end",
        "begin <= hop < end",
        "the edge of what was heard late",
        ("test_activity.py",),
    ),
    # --- from probabilities to candidates
    Mutation(
        DECISION,
        "            if score <= self._cutoff:\n",
        "            if score < self._cutoff:\n",
        "a score equal to the cutoff fires",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "elif self._armed and sample >= self._ready_at:",
        "elif self._armed and sample > self._ready_at:",
        "the refractory time is a sample longer",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION, "                self._armed = False\n", "", "a word fires again and again", ("test_decision.py",)
    ),
    Mutation(
        DECISION,
        "self._cutoff, self._loose_cutoff = cutoff, loose_cutoff\n        if",
        'self._cutoff, self._loose_cutoff = cutoff, getattr(self, "_loose_cutoff", loose_cutoff)\n        if',
        "the loose cutoff cannot be changed",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "            self._peak = None\n",
        "            pass\n",
        "a peak waits for ever where its loose cutoff has gone",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "        self._first_frame = first_frame\n",
        "        self._first_frame = 0\n",
        "the first frame of a late word is ignored",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "        self._first_frame += frames\n",
        "        self._first_frame = frames\n",
        "a second gap in the stream forgets the first",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "if peak is not None and peak.sample >= self._ready_at:",
        "if peak is not None:",
        "a weak word follows another within a second",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "score > loose_cutoff and not self._spent and",
        "score > loose_cutoff and",
        "a long sound is a weak word again and again",
        ("test_decision.py",),
    ),
    Mutation(
        DECISION,
        "0.6  # of the published cutoff",
        "0.5  # of the published cutoff",
        "known voices are heard at half of the cutoff",
        ("test_verifier.py",),
    ),
    # --- the activity gate
    Mutation(
        ACTIVITY,
        "FLOOR_SECONDS = 5",
        "FLOOR_SECONDS = 4",
        "the quietest tile counts for four seconds",
        ("test_activity.py",),
    ),
    Mutation(
        ACTIVITY,
        "LOUD_RATIO = 1.25",
        "LOUD_RATIO = 1.5",
        "a sound must be 3.5 dB above the quietest tile",
        ("test_activity.py",),
    ),
    Mutation(
        ACTIVITY,
        "ALWAYS_LOUD = 50",
        "ALWAYS_LOUD = 54",
        "louder noise than a quiet room's may be skipped",
        ("test_activity.py",),
    ),
    Mutation(ACTIVITY, "ALWAYS_QUIET = 2 ", "ALWAYS_QUIET = 1 ", "the last bit is a sound", ("test_activity.py",)),
    Mutation(
        ACTIVITY,
        "AFTER_HOPS = 200",
        "AFTER_HOPS = 100",
        "a second is heard behind a sound, not two",
        ("test_activity.py",),
    ),
    Mutation(
        ACTIVITY,
        "BEFORE_HOPS = 240",
        "BEFORE_HOPS = 120",
        "1.2 s are heard before a sound, not 2.4",
        ("test_activity.py",),
    ),
    Mutation(
        ACTIVITY,
        "CUT_HOPS = 12",
        "CUT_HOPS = 10",
        "the networks fall out of step where something is left out",
        ("test_activity.py",),
    ),
    Mutation(
        ACTIVITY,
        "level > max(limit, ALWAYS_QUIET * _TILE_SAMPLES)",
        "level >= max(limit, ALWAYS_QUIET * _TILE_SAMPLES)",
        "a level at the limit is a sound",
        ("test_activity.py",),
    ),
    # --- the speaker network
    Mutation(
        SPEAKER,
        "speech = to_float(crop[start : min(end, start + MAX_SPEECH_SAMPLES)])",
        "speech = to_float(crop[start:end])",
        "of a long phrase all is embedded",
        ("test_speaker.py",),
    ),
    Mutation(
        SPEAKER,
        "MAX_SPEECH_SAMPLES = 13 * RATE_HZ // 10",
        "MAX_SPEECH_SAMPLES = 12 * RATE_HZ // 10",
        "of a long phrase 1.2 s are embedded",
        ("test_speaker.py",),
    ),
    Mutation(
        SPEAKER,
        "return mel.power_mel(mel.to_level(speech), bands)",
        "return mel.power_mel(speech, bands)",
        "speech is not brought to the network's level",
        ("test_speaker.py",),
    ),
    Mutation(
        SPEAKER,
        "embedding / np.float32(length)",
        "embedding",
        "an embedding has not unit length",
        ("test_speaker.py",),
    ),
    Mutation(
        "engine/features/speech.py",
        "_MARGIN_FRAMES = 5",
        "_MARGIN_FRAMES = 0",
        "nothing is kept around the speech",
        ("test_speech.py", "test_speaker.py"),
    ),
    Mutation(
        SPEAKER,
        "crop[start : min(end, start + MAX_SPEECH_SAMPLES)]",
        "crop[max(start, end - MAX_SPEECH_SAMPLES) : end]",
        "of a long phrase the end is embedded",
        ("test_speaker.py",),
    ),
    Mutation(
        "engine/features/mel.py",
        "LEVEL_DBFS = -30.0",
        "LEVEL_DBFS = -24.0",
        "speech is brought to another level than the network was trained at",
        ("test_speaker.py",),
    ),
    # --- the policy
    Mutation(
        POLICY,
        "return enrolled + 2 * decade * (NEUTRAL - sensitivity)",
        "return enrolled + decade * (NEUTRAL - sensitivity)",
        "half a unit of sensitivity is half a decade",
        ("test_verifier.py",),
    ),
    Mutation(
        POLICY,
        "return enrolled + 2 * decade * (NEUTRAL - sensitivity)",
        "return enrolled - 2 * decade * (NEUTRAL - sensitivity)",
        "a higher sensitivity knows fewer",
        ("test_verifier.py",),
    ),
    Mutation(
        POLICY,
        "self.voice_sensitivity_of.get(person, self.voice_sensitivity)",
        "self.voice_sensitivity",
        "nobody has a sensitivity of the own",
        ("test_verifier.py",),
    ),
    Mutation(
        POLICY,
        "self.sensitivity_of.get(keyword, self.sensitivity)",
        "self.sensitivity",
        "no word has a sensitivity of its own",
        ("test_detector.py",),
    ),
    Mutation(
        POLICY,
        "math.exp(_CUTOFF_LOGITS * (NEUTRAL - sensitivity))",
        "math.exp(_CUTOFF_LOGITS * (sensitivity - NEUTRAL))",
        "a higher sensitivity hears less",
        ("test_detector.py",),
    ),
    # --- what is said of it
    Mutation(
        "engine/event.py",
        'found = self.reason.split(":")[0]',
        "found = self.reason",
        "where nobody is enrolled the console says that nobody is known",
        ("test_event.py",),
    ),
    Mutation(
        "engine/event.py",
        '{"detection": "+", "confirmation": "="}',
        '{"detection": "+", "near_miss": "+", "confirmation": "="}',
        "a near miss looks like a wake",
        ("test_event.py",),
    ),
    Mutation(
        "engine/sinks/dispatch.py",
        'wanting = {"all"} if notice.event.type == "near_miss" else',
        'wanting = {"all"} if notice.event.type == "rejection" else',
        "near misses wake the sinks, and rejections do not",
        ("test_every_sink.py",),
    ),
    Mutation(
        "engine/sinks/dispatch.py",
        '        if notice.clip is not None:\n            wanting = {"clips"}\n        else:',
        '        if notice.clip is not None:\n            wanting = {"clips", "events"}\n        else:',
        "every event comes twice where a journal is kept",
        ("test_dispatch.py",),
    ),
)

ENROLLING = (
    # --- calibration
    Mutation(
        CALIBRATE,
        "trials[TRAINED].margin() <= trials[COSINE].margin() + LEAST_GAIN",
        "trials[TRAINED].margin() < trials[COSINE].margin() - LEAST_GAIN",
        "a head that is only as good as the cosine is kept",
        _CALIBRATE,
    ),
    Mutation(CALIBRATE, "constant=0.69,", "constant=0.70,", "another threshold of the cosine", _CALIBRATE),
    Mutation(CALIBRATE, "constant=0.665,", "constant=0.66,", "another threshold of the head", _CALIBRATE),
    Mutation(
        CALIBRATE, "rule.one_take / takes", "rule.one_take * takes", "many takes lower the threshold", _CALIBRATE
    ),
    Mutation(
        CALIBRATE, "np.log10(0.01 / far)", "np.log10(far / 0.01)", "a smaller FAR lowers the threshold", _CALIBRATE
    ),
    Mutation(
        CALIBRATE,
        "np.quantile(self.others, 0.99, axis=1)",
        "np.quantile(self.others, 0.95, axis=1)",
        "the margin is taken from another quantile of the impostors",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "own = (self.own + self.varied) / 2",
        "own = self.own",
        "the guard does not look at the variations",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "deviation = self.others.std(axis=1) + 1e-6",
        "deviation = 1.0",
        "margins of scores on different scales are compared",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "Lesson(rest, negatives, cohort, plan)",
        "Lesson(rest, cohort, cohort, plan)",
        "the guard measures those it was trained against",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "scores = {COSINE: probe @ centroid(rest)}",
        "scores = {COSINE: probe @ centroid(takes)}",
        "no take is left out of the mean",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "if number not in group]",
        "if number >= 0]",
        "no take is left out of the training",
        _CALIBRATE,
    ),
    Mutation(
        CALIBRATE,
        "if len(takes) >= MIN_TRAINED_TAKES else",
        "if len(takes) > MIN_TRAINED_TAKES else",
        "of two takes none is trained with",
        _CALIBRATE,
    ),
    Mutation(CALIBRATE, "beta.ppf(0.975,", "beta.ppf(0.95,", "the interval of a share is too narrow", _CALIBRATE),
    Mutation(
        CALIBRATE,
        "count + 0.5, total - count + 0.5",
        "count + 1, total - count + 1",
        "another prior of the prediction",
        _CALIBRATE,
    ),
    # --- enrolment
    Mutation(
        ENROLMENT,
        "halves[1].embeddings",
        "halves[0].embeddings",
        "impostors are measured who were trained against",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "takes, to_measure, to_train, options.plan, share)",
        "takes, to_train, to_train, options.plan, share)",
        "the guard measures those it was trained against",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "len(same) >= MIN_PHRASE_COHORT",
        "len(same) > MIN_PHRASE_COHORT",
        "a hundred who say the very phrase are not enough",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        ".nearest(mean, self.head.cohort_rows)",
        ".nearest(-mean, self.head.cohort_rows)",
        "those train who resemble the person least",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "seed = [options.seed, number]",
        "seed = [options.seed]",
        "all takes have the same variations",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "seed = [options.seed, number]",
        "seed = [number]",
        "the seed changes nothing",
        _ENROLMENT,
    ),
    Mutation(
        "enroll/takes/varied.py",
        "default_rng([*seed, copy])",
        "default_rng([*seed])",
        "all variations of a take are the same",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "self.head.take_rows // of - 1",
        "self.head.take_rows // of",
        "more variations are made than the head has rows",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "2 * like_owner.sum() < len(rows)",
        "2 * like_owner.sum() <= len(rows)",
        "a recording of others that is half the owner is taken",
        ("test_others.py",),
    ),
    Mutation(
        ENROLMENT,
        "embeddings[~like_owner])",
        "embeddings)",
        "the owner's own crops are trained against",
        ("test_others.py",),
    ),
    Mutation(
        ENROLMENT,
        "np.median([take.crop_snr_db",
        "np.max([take.crop_snr_db",
        "the report has the SNR of the cleanest take",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT, "2 * rejected > of:", "2 * rejected >= of:", "half of the takes may not disagree", _ENROLMENT
    ),
    Mutation(
        ENROLMENT,
        "of >= MIN_AGREEING",
        "of > MIN_AGREEING",
        "four takes that disagree are enrolled",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        'kind="stable")[:MAX_OTHERS]',
        'kind="stable")[: 2 * MAX_OTHERS]',
        "the people of the home crowd the shipped cohort out",
        _ENROLMENT,
    ),
    Mutation(
        ENROLMENT,
        "np.argsort(-(others.embeddings @ mean)",
        "np.argsort(others.embeddings @ mean",
        "of many others those train who resemble the person least",
        _ENROLMENT,
    ),
    Mutation(
        "enroll/training/report.py",
        "np.sum(own < threshold)",
        "np.sum(own <= threshold)",
        "a take that scores the threshold counts as rejected",
        _ENROLMENT,
    ),
    Mutation(
        "enroll/training/cohort.py",
        "_, number = np.unique(self.speaker, return_inverse=True)",
        "number = np.arange(len(self))",
        "the cohort's halves share speakers",
        _ENROLMENT,
    ),
    Mutation(
        "enroll/training/train.py",
        "take.weight * plan.copy_weight",
        "take.weight",
        "a variation weighs as much as a take",
        ("test_train.py",),
    ),
    Mutation(
        "enroll/training/train.py",
        "(limit - len(takes)) // max(1, varied)",
        "limit // max(1, varied)",
        "more rows are trained with than the head has",
        _ENROLMENT,
    ),
    Mutation(
        "enroll/training/achieved.py",
        "self.cohort >= self.threshold",
        "self.cohort > self.threshold",
        "a stranger who scores the threshold is not counted as let in",
        ("test_achieved.py",),
    ),
    Mutation(
        "enroll/training/achieved.py",
        "self.own < self.threshold",
        "self.own <= self.threshold",
        "a take that scores the threshold is counted as rejected",
        ("test_achieved.py",),
    ),
    Mutation(
        "enroll/training/alike.py",
        "verifier.margin(person, other.takes) >= 0",
        "verifier.margin(person, other.takes) > 0",
        "a take that scores another person's threshold is not seen to be alike",
        ("test_alike.py",),
    ),
    # --- takes
    Mutation(
        "enroll/takes/others.py",
        "embeddings @ centroid >= OWN_VOICE_COSINE",
        "embeddings @ centroid > OWN_VOICE_COSINE",
        "the edge of what counts as the owner's is left out",
        ("test_others.py",),
    ),
    Mutation(
        "enroll/takes/others.py",
        "OWN_VOICE_COSINE = 0.68",
        "OWN_VOICE_COSINE = 0.69",
        "the owner is known less often among others",
        ("test_others.py",),
    ),
    Mutation(
        VOICES, "at = 1 if len(left) == 2", "at = 0 if len(left) == 2", "of two takes the first is odd", _VOICES
    ),
    Mutation(VOICES, "int(np.argmin(each))", "int(np.argmax(each))", "the take most like the others is odd", _VOICES),
    Mutation(
        VOICES, "each[at] >= limit(len(left))", "each[at] > limit(len(left))", "the limit itself is odd", _VOICES
    ),
    Mutation(
        VOICES,
        "2 * len(found) < len(embeddings) - 1",
        "2 * len(found) <= len(embeddings) - 1",
        "three of five takes may be odd",
        _VOICES,
    ),
    Mutation(
        VOICES,
        "len(left) >= max(least, 2)",
        "len(left) >= 2",
        "fewer takes than asked for are compared",
        _VOICES,
    ),
    # --- impostors of the home
    Mutation(IMPOSTORS, ">= APART", "> APART", "the edge of what is near is a stranger", _IMPOSTORS),
    Mutation(IMPOSTORS, "& ~near", "", "a stranger need not be far from every single take", _IMPOSTORS),
    Mutation(IMPOSTORS, "< -BELOW", "<= -BELOW", "the edge of what is far below is a stranger", _IMPOSTORS),
    Mutation(
        IMPOSTORS,
        "(verifier.margin(person, embeddings, ANYWHERE) < -BELOW) & ~near",
        "~near",
        "a stranger need not be far below the threshold",
        _IMPOSTORS,
    ),
    Mutation(
        IMPOSTORS,
        "np.concatenate([person.takes, *map(unit_rows, varied)])",
        "np.concatenate([person.takes, *varied])",
        "variations are compared at whatever length they were stored",
        _IMPOSTORS,
    ),
    # --- learning on
    Mutation(LEARN, "if rejected > were:", "if rejected >= were:", "nothing is ever learned", _LEARN),
    Mutation(
        LEARN,
        "share = min(1.0, count / max(1, sum(plain)))",
        "share = 1.0",
        "learned takes outweigh the enrolled ones",
        _LEARN,
    ),
    Mutation(
        LEARN, "if lost > TOLERANCE:", "if lost > 10 * TOLERANCE:", "the enrolled takes may lose a decade", _LEARN
    ),
    Mutation(
        LEARN,
        "self._as_heard(anchor, addition.embedding) < 0",
        "self._as_heard(now, addition.embedding) < 0",
        "what was learned may vouch for what is learned next",
        _LEARN,
    ),
    Mutation(
        LEARN,
        "if self.strangers_in > before.strangers_in:",
        "if self.strangers_in > before.strangers_in + 1:",
        "one more stranger may be let in",
        ("test_guard.py",),
    ),
    Mutation(
        LEARN,
        "if self.nearest > max(before.nearest, -FAR_ENOUGH) + TOLERANCE:",
        "if self.nearest > max(before.nearest, FAR_ENOUGH) + TOLERANCE:",
        "another person may come nearer",
        ("test_guard.py",),
    ),
    Mutation(
        LEARN,
        "min(highest + TOLERANCE, threshold + DECADE[person.kind])",
        "highest + TOLERANCE",
        "a stranger who sounds like the person raises the threshold without limit",
        _LEARN,
    ),
    Mutation(
        LEARN,
        "wide = WIDE_DECADES * DECADE[person.kind]",
        "wide = 0.0",
        "wakes in doubt are learned",
        ("test_guard.py",),
    ),
    Mutation(
        LEARN,
        "if lost_elsewhere > TOLERANCE:",
        "if False:",
        "in another condition the enrolled takes may lose what they like",
        ("test_guard.py",),
    ),
    Mutation(
        LEARN,
        "if len(added) == most:",
        "if len(added) > most:",
        "one more is learned than may be",
        _LEARN,
    ),
    Mutation(
        "enroll/learning/update.py",
        "0 if learned_today else 1",
        "1",
        "more than one wake a day is learned",
        _LEARN,
    ),
    Mutation(
        "enroll/learning/update.py",
        "and one.id not in undone]",
        "]",
        "what was taken back is learned again",
        _LEARN,
    ),
    Mutation(
        "enroll/learning/update.py",
        "one.label != NOISE and one.label not in names]",
        "one.label not in names]",
        "noise is trained against as if it were somebody",
        _LEARN,
    ),
    # --- error rates
    Mutation(RATES, "self.far <= far", "self.far < far", "a FAR on the grid is not reached", _RATES),
    Mutation(
        RATES,
        "(passed_over[-1] - passed_over) / passed_over[-1]",
        "1 - passed_over / passed_over[-1]",
        "a FAR on the grid is missed by rounding",
        _RATES,
    ),
    Mutation(
        RATES,
        "np.r_[True, sorted_scores[1:] != sorted_scores[:-1]]",
        "np.r_[True, sorted_scores[1:] >= sorted_scores[:-1]]",
        "equal scores are accepted one without the other",
        _RATES,
    ),
    Mutation(RATES, "DCF_TARGET_SHARE = 0.01", "DCF_TARGET_SHARE = 0.05", "another detection cost", _RATES),
    Mutation(
        RATES,
        "np.where(self.own, 1.0, times[self.speaker])",
        "1.0",
        "strangers are not drawn anew in the intervals",
        _RATES,
    ),
)

STORING = (
    # --- the person store
    Mutation(STORE, "KEPT_VERSIONS = 5", "KEPT_VERSIONS = 6", "six versions are kept", _STORE),
    Mutation(STORE, "version = versions[-2]", "version = versions[0]", "rollback goes to the oldest", _STORE),
    Mutation(
        TRANSACTION,
        "if after == before:",
        "if found is not None:",
        "what moved while it was looked at counts",
        _LOOKS,
    ),
    Mutation(
        TRANSACTION,
        "first, plan, second = folders_in(store), read_plan(store), folders_in(store)",
        "first, plan, second = folders_in(store), read_plan(store), []",
        "who is between two places is missed",
        _LOOKS,
    ),
    Mutation(
        TRANSACTION,
        "return sorted(int(path.name) for path in folders_in(place) if is_version(path.name))",
        "return [*map(int, sorted(one.name for one in folders_in(place) if is_version(one.name)))]",
        "versions are sorted as texts",
        _STORE,
    ),
    Mutation(
        STORE,
        "for old in kept[: -(KEPT_VERSIONS - 1)]:",
        "for old in kept[:-KEPT_VERSIONS]:",
        "an old version stays on the disk",
        _STORE,
    ),
    Mutation(
        STORE,
        "number = versions[-1] if version is None else version",
        "number = versions[0] if version is None else version",
        "the oldest version counts",
        _STORE,
    ),
    Mutation(
        STORE,
        "!= place.parts[-3:-1]:",
        "!= place.parts[-3:-1] and False:",
        "a folder that was copied is another person",
        _STORE,
    ),
    Mutation(
        STORE,
        "version = (kept[-1] if kept else 0) + 1",
        "version = len(kept) + 1",
        "a version's number is given twice",
        _STORE,
    ),
    Mutation(
        "engine/people/codec.py",
        'header["arrays_sha256"] != _sha256(contents[ARRAYS_FILE])',
        "False",
        "damaged arrays are believed",
        _STORE,
    ),
    Mutation(
        "engine/people/voiceprint.py",
        "differing = [part for part in wanted if wanted[part] != found[part]]",
        'differing = [part for part in ("keyword", "speaker") if wanted[part] != found[part]]',
        "a voiceprint of another head is scored",
        _STORE,
    ),
    # --- a person in one file
    Mutation(
        BUNDLE,
        '_check_sums(members, manifest["files"])',
        "pass",
        "the sums of the manifest are not checked",
        _BUNDLE,
    ),
    Mutation(
        BUNDLE,
        "if set(members) != set(sums):",
        "if not set(members) <= set(sums):",
        "a member that is missing is not missed",
        _BUNDLE,
    ),
    Mutation(
        BUNDLE,
        "if max(counts.values()) > KEPT_VERSIONS:",
        "if max(counts.values()) >= KEPT_VERSIONS:",
        "a person with all versions cannot be imported",
        _BUNDLE,
    ),
    Mutation(
        BUNDLE,
        "if (voiceprint.name, voiceprint.keyword) != (name, keyword):",
        "if voiceprint.keyword != keyword:",
        "a person is imported under another name",
        _BUNDLE,
    ),
    Mutation(
        BUNDLE, 'if rest.strip(b"\\0"):', "if False:", "what is behind the last member is not looked at", _STORE
    ),
    # --- the journal
    Mutation(
        JOURNAL,
        "now_s - self._stored_s(number) > self._max_age_s",
        "now_s - self._stored_s(number) >= self._max_age_s",
        "an entry goes a moment too early",
        _JOURNAL,
    ),
    Mutation(
        JOURNAL, "self._beyond(self._most - 1)", "self._beyond(self._most)", "one entry too many is kept", _JOURNAL
    ),
    Mutation("engine/settings/schema.py", "DAY_S = 86_400", "DAY_S = 3_600", "a day has an hour", _JOURNAL),
    Mutation(
        "engine/history/clock.py",
        "abs(step_s) <= STEP_S",
        "step_s <= STEP_S",
        "a clock that is set back makes entries young",
        _JOURNAL,
    ),
    Mutation(
        JOURNAL,
        "max(last, next(reversed(self._stored), 0)) + 1",
        "max(0, next(reversed(self._stored), 0)) + 1",
        "a number is given twice",
        _JOURNAL,
    ),
    Mutation(
        JOURNAL,
        'if hashlib.sha256(audio).hexdigest() != values["audio_sha256"]:',
        "if False:",
        "damaged sound is believed",
        _JOURNAL,
    ),
    # --- what waits to be learned
    Mutation(QUEUE, "MOST_OWN = 200", "MOST_OWN = 201", "one own wake more waits", _QUEUE),
    Mutation(
        QUEUE,
        "OWN_DAYS, IMPOSTOR_DAYS = 14.0, 60.0",
        "OWN_DAYS, IMPOSTOR_DAYS = 15.0, 60.0",
        "own wakes wait a day longer",
        _QUEUE,
    ),
    Mutation(QUEUE, "young[-most:]", "young[:most]", "the newest go where there are too many", _QUEUE),
    Mutation(
        QUEUE,
        "now_s - stored_s[heard.id] <= days * DAY_S",
        "abs(now_s - stored_s[heard.id]) <= days * DAY_S",
        "what seems to come from the future is erased",
        _QUEUE,
    ),
    Mutation(
        QUEUE,
        "heard.keyword == keyword and heard.sample >= since_sample",
        "heard.keyword == keyword",
        "an accepted wake takes back rejections of long ago",
        _QUEUE,
    ),
    Mutation(QUEUE, "[-MOST_UNDONE:]", "[:MOST_UNDONE]", "the newest that was taken back is forgotten", _QUEUE),
    Mutation(
        QUEUE,
        "if heard.is_own == own and heard.id not in gone",
        "if heard.id not in gone",
        "own wakes and strangers crowd each other out",
        _QUEUE,
    ),
    Mutation(
        "engine/history/queued_wake.py",
        "self.label not in (NOT_ME, NOISE)",
        "self.label not in (NOT_ME,)",
        "noise counts as somebody's own wake",
        _QUEUE,
    ),
    Mutation(
        "engine/history/updates.py",
        "versions[-1] != instead_of or changed:",
        "versions[-1] < instead_of or changed:",
        "what was learned overtakes a new enrolment",
        _QUEUE,
    ),
    Mutation(
        "engine/history/updates.py",
        "keep = {_enrolment(tree, keyword), *versions[-(KEPT_VERSIONS - 2) :]}",
        "keep = {*versions[-(KEPT_VERSIONS - 1) :]}",
        "updates crowd the enrolment out",
        _QUEUE,
    ),
    # --- where events go
    Mutation(
        OUTBOX,
        "min(2 * retry_s, LAST_RETRY_S)",
        "min(retry_s, LAST_RETRY_S)",
        "a retry's delay does not grow",
        _OUTBOX,
    ),
    Mutation(
        OUTBOX,
        "FIRST_RETRY_S, LAST_RETRY_S = 1.0, 30.0",
        "FIRST_RETRY_S, LAST_RETRY_S = 1.0, 300.0",
        "a retry comes after minutes only",
        _OUTBOX,
    ),
    Mutation(OUTBOX, "QUEUE_NOTICES = 64", "QUEUE_NOTICES = 65", "one notice more waits", _OUTBOX),
    Mutation(
        OUTBOX,
        "timeout=self.sink.idle_s if self._is_open else retry_s",
        "timeout=retry_s",
        "a sink is idle when it did not ask for it",
        _OUTBOX,
    ),
    Mutation(
        OUTBOX, "            if not self._dropping:", "            if True:", "each dropped notice is logged", _OUTBOX
    ),
    Mutation(
        "engine/sinks/dispatch.py",
        '{"all"} if notice.event.type == "near_miss" else {"all", "events"}',
        '{"all", "events"}',
        "near misses are events for every sink",
        ("test_dispatch.py",),
    ),
    Mutation(
        "engine/sinks/mqtt/sink.py",
        "FIRST_RETRY_S, LAST_RETRY_S = 1, 30",
        "FIRST_RETRY_S, LAST_RETRY_S = 1, 120",
        "a broker that is back is found after minutes",
        ("test_mqtt.py",),
    ),
    Mutation(
        "engine/sinks/mqtt/sink.py",
        "client.on_subscribe, client.on_socket_open = self._on_subscribe, at_once",
        "client.on_subscribe = self._on_subscribe",
        "an event waits 40 ms behind the last wake",
        ("test_mqtt.py",),
    ),
    Mutation(
        "engine/sinks/mqtt/state.py",
        """            self._say_diagnostics()
            self._say("availability", ONLINE)""",
        """            self._say_diagnostics()""",
        "nobody is told that the daemon is there",
        ("test_mqtt_state.py",),
    ),
    Mutation(
        "engine/sinks/mqtt/sink.py",
        'self._opened().publish(f"{self._topic}/daemon", self._own_id)  # it came later',
        "pass  # it came later",
        "of two daemons on one topic only the first notices",
        ("test_mqtt_state.py",),
    ),
    Mutation(
        "engine/daemon/kept.py",
        "if was == str(value_of(settings, key))}",
        "if was}",
        "what was edited in the settings does not count",
        ("test_kept.py",),
    ),
    Mutation(
        "engine/sinks/base.py",
        "return self.peer or OWN",
        "return self.source or OWN",
        "the source of an event changes with each connection",
        ("test_wyoming_peers.py",),
    ),
    Mutation(
        "engine/audio/microphone.py",
        "min(2 * retry_s, LAST_RETRY_S)",
        "2 * retry_s",
        "a microphone that is back is heard after minutes",
        ("test_microphone.py",),
    ),
    Mutation(
        "engine/sinks/learning.py",
        "RETRY_SAMPLES = 30 * RATE_HZ",
        "RETRY_SAMPLES = 300 * RATE_HZ",
        "an accepted wake takes back strangers of minutes ago",
        ("test_learning_sink.py",),
    ),
    Mutation(
        "engine/sinks/wyoming/sink.py",
        """        if client.trusted:
            self._followers""",
        """        if True:
            self._followers""",
        "anybody in the network learns who is at home",
        ("test_followers.py",),
    ),
    Mutation(
        "engine/sinks/wyoming/followers.py",
        """        self.look()
        self._write(Event(HEARD""",
        """        self._write(Event(HEARD""",
        "the first wake of a new person is nobody's in Home Assistant",
        ("test_followers.py",),
    ),
    Mutation(
        "engine/sinks/wyoming/sink.py",
        "0.0 if one in self._followers else one.silent_s",
        "one.silent_s",
        "Home Assistant loses its place, because it listens",
        ("test_followers.py",),
    ),
)

MUTATIONS = (*DECIDING, *ENROLLING, *STORING)
