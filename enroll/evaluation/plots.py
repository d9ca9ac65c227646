"""Pictures, where a person would rather look than read. Needs matplotlib (extra `enroll`)."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy.stats import norm

from earmark.engine.audio.offset import without_offset
from earmark.engine.audio.samples import RATE_HZ, Float32, Int16, to_float
from earmark.engine.audio.sources import ArraySource
from earmark.engine.commands.people_commands import kinds
from earmark.engine.detector import FLUSH_SAMPLES, Detector
from earmark.engine.errors import InputError, InstallationError, text_of
from earmark.engine.event import Event
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.people.store import Voiceprint
from earmark.engine.processes.own import from_root
from earmark.engine.spotting import find_wakes
from earmark.engine.storage.targets import require_writable, write

from ..training.achieved import Achieved
from .error_rates import Trials

try:
    with from_root():  # a `matplotlibrc` in the working folder would be obeyed, and may be somebody else's
        import matplotlib

        matplotlib.use("Agg")
        # Names come from bundles and journals: they are text, and neither mathematics nor TeX
        matplotlib.rcParams.update({"text.parse_math": False, "text.usetex": False})
        from matplotlib.axes import Axes
        from matplotlib.figure import Figure
except ImportError as error:
    raise InstallationError(f"{text_of(error)}: pictures need matplotlib: `pip install 'earmark[enroll]'`") from error

KINDS = (
    "jpg",
    "pdf",
    "png",
    "svg",
    "webp",
)  # of pictures: the library has others whose text is code, as PGF's is TeX
MOST_LETTERS = 60  # of a name in a picture: a hundred thousand take a quarter of a minute to draw
KNOWN, UNKNOWN = "#1a7f37", "#b3261e"
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
DET_SHARES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4, 0.6)
PEAKS_A_SECOND = 200  # of the drawn waveform: more than a picture has pixels for


def timeline(samples: Int16, keywords: Sequence[KeywordNetwork], detector: Detector, out: str) -> list[Event]:
    """Writes a PNG: the waveform with every decision and who it was, and each keyword's mean probability.

    Args:
        samples: (n,) int16.
        keywords: networks of their own: their state is used.
        detector: what makes the events; it is run once over the samples.
        out: path of the picture.
    """
    detector.reset()
    events = list(detector.run(ArraySource(samples)))
    picture(samples, keywords, events, out)
    return events


def picture(samples: Int16, keywords: Sequence[KeywordNetwork], events: Sequence[Event], out: str) -> None:
    """Writes a PNG like `timeline`, of events that are known.

    Args:
        samples: (n,) int16.
        keywords: networks of their own: their state is used.
        events: their `sample` counts from the first of the samples.
        out: path of the picture.
    """
    samples, _ = without_offset(samples)
    duration_s = len(samples) / RATE_HZ
    width = float(np.clip(duration_s / 4, 8, 40))
    figure = Figure(figsize=(width, 5), layout="constrained")
    waveform, scores = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    _draw_waveform(waveform, samples)
    for number, event in enumerate(events):
        _draw_event(waveform, event, row=number % 3)
    for keyword in keywords:
        _draw_scores(scores, samples, keyword)
    waveform.set(ylim=(-1.05, 1.9), ylabel="waveform", xlim=(0, duration_s))
    waveform.set_yticks([-1, 0, 1])
    scores.set(ylim=(0, 1.05), ylabel="keyword score", xlabel="seconds")
    if keywords:
        scores.legend(loc="upper left", fontsize="small", framealpha=0.6)
    _save(figure, out)


def det(systems: Mapping[str, Trials], out: str) -> None:
    """Writes a PNG: detection error trade-off curves on normal deviates, with each system's enrolled thresholds.

    On such axes normally distributed scores make straight lines (A. Martin et al., "The DET curve in assessment of
    detection task performance", 1997).
    """
    figure = Figure(figsize=(7, 7), layout="constrained")
    axes = figure.subplots()
    for name, trials in systems.items():
        curve, rates = trials.det(), trials.rates()
        far, frr = (np.clip(share, DET_SHARES[0], DET_SHARES[-1]) for share in (curve.far, curve.frr))
        (line,) = axes.plot(norm.ppf(far), norm.ppf(frr), label=f"{_short(name)}: EER {100 * rates['eer']:.1f} %")
        enrolled = np.clip([rates["far_at_enrolled"], rates["frr_at_enrolled"]], DET_SHARES[0], DET_SHARES[-1])
        axes.plot(*norm.ppf(enrolled)[:, None], "o", color=line.get_color())
    axes.plot([], [], "o", color="grey", label="at the enrolled thresholds")
    axes.axline((0, 0), slope=1, color="grey", linewidth=0.8, linestyle=":")
    ticks, labels = norm.ppf(DET_SHARES), [f"{100 * share:g}" for share in DET_SHARES]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.set(
        xlim=(ticks[0], ticks[-1]),
        ylim=(ticks[0], ticks[-1]),
        xlabel="false accepts of strangers, %",
        ylabel="false rejects of the own voice, %",
    )
    axes.grid(linewidth=0.4)
    axes.legend(loc="upper right", fontsize="small")
    _save(figure, out)


def scores(achieved: Mapping[str, Achieved], person: Voiceprint, people: Mapping[str, Float32], out: str) -> None:
    """Writes a PNG: scores of the own takes, of strangers, of others at home and of other people, and the threshold.

    Args:
        achieved: of each kind of score; a plot for each.
        person: who was enrolled.
        people: name -> (n,) scores, of the kind that is used, which the takes of others reach as this person.
        out: path of the picture.
    """
    figure = Figure(figsize=(9, 3.2 * len(achieved)), layout="constrained")
    plots = np.ravel(figure.subplots(len(achieved), 1, sharex=True))
    for axes, (kind, one) in zip(plots, sorted(achieved.items(), key=lambda item: item[0] != person.kind)):
        used = kind == person.kind
        rows = {"own takes, each left out": one.own, "others at home": one.others}
        rows.update(people if used else {})
        axes.hist(one.cohort, bins=60, color="#b9bfc6", label=f"{len(one.cohort)} strangers")
        top = axes.get_ylim()[1]
        for number, (label, values) in enumerate((label, values) for label, values in rows.items() if len(values)):
            height = np.full(len(values), top * (0.9 - 0.12 * number))
            axes.plot(
                values, height, "o", color=KNOWN if label.startswith("own") else f"C{number}", label=_short(label)
            )
        axes.axvline(one.threshold, color=UNKNOWN, label=f"threshold {one.threshold:.2f}")
        title = kinds(person.trainer)[kind]
        axes.set(
            title=f"{_short(person.name)}, {_short(person.keyword)}: {title}{' (used)' if used else ''}",
            ylabel="strangers",
        )
        axes.legend(loc="upper left", fontsize="small")
    plots[-1].set_xlabel("score")
    _save(figure, out)


def costs(stages: Sequence[tuple[str, float]], out: str) -> None:
    """Draws stages, each with its µs per 10 ms, as bars; 100 µs are one per cent of a core.

    Raises:
        InputError: the picture cannot be written.
    """
    figure = Figure(figsize=(8, 0.5 + 0.4 * len(stages)), layout="constrained")
    axes = figure.add_subplot()
    names, values = [name for name, _ in stages], [value for _, value in stages]
    bars = axes.barh(names, values)
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="µs per 10 ms of audio; 100 are 1 % of a core")
    axes.margins(x=0.1)
    _save(figure, out)


def require_picture(out: str) -> None:
    """Raises InputError where a picture could not be written: no such format, or no such place."""
    _kind(out)
    require_writable(out if Path(out).suffix else f"{out}.png")


def _save(figure: Figure, out: str) -> None:
    """Writes the picture, for its owner's eyes only: it shows who was heard when, or how a voice scores."""
    kind, content = _kind(out), io.BytesIO()
    try:
        figure.savefig(content, dpi=110, format=kind)
    except (OSError, ValueError) as error:  # ValueError: this installation cannot write such a picture
        raise InputError(f"{out}: the picture cannot be written: {text_of(error)}") from error
    write(out if Path(out).suffix else f"{out}.png", content.getvalue())


def _kind(out: str) -> str:
    kind = Path(out).suffix.lower().lstrip(".") or "png"
    if kind not in KINDS:
        raise InputError(f"{out}: the picture cannot be written: .{kind} is none of {', '.join(KINDS)}")
    return kind


def _short(name: str) -> str:
    """What a picture has room for."""
    return name if len(name) <= MOST_LETTERS else f"{name[: MOST_LETTERS - 1]}…"


def _draw_waveform(axes: Axes, samples: Int16) -> None:
    size = RATE_HZ // PEAKS_A_SECOND
    count = max(1, len(samples) // size)
    peaks = np.abs(to_float(np.resize(samples, count * size)).reshape(count, size)).max(axis=1)
    peaks = peaks / max(peaks.max(), 1e-6)
    seconds = np.arange(count) / PEAKS_A_SECOND
    axes.fill_between(seconds, -peaks, peaks, color="#6e7781", linewidth=0)


def _draw_event(axes: Axes, event: Event, row: int) -> None:
    seconds = event.sample / RATE_HZ
    colour = KNOWN if event.person else UNKNOWN
    label = _short(
        event.person or ("nobody known" if event.reason == "unknown_voice" else event.reason.replace("_", " "))
    )
    if event.speaker_score is not None:
        label += f" {event.speaker_score:.2f}"
    if event.type == "confirmation":  # over what was listened to for it
        end = event.decided_sample / RATE_HZ
        label = f"{event.reason.split(':')[0].replace('_', ' ')}: {label}" if event.person else label
        axes.axvspan(seconds, end, color=colour, alpha=0.15, linewidth=0)
        seconds = (seconds + end) / 2
    else:
        axes.axvline(seconds, color=colour, linewidth=1.2)
    axes.annotate(label, (seconds, 1.1 + 0.26 * row), color=colour, fontsize="small", ha="center", bbox=LABEL_BOX)


def _draw_scores(axes: Axes, samples: Int16, keyword: KeywordNetwork) -> None:
    wakes = find_wakes(np.pad(samples, (0, FLUSH_SAMPLES)), keyword)
    (line,) = axes.plot(wakes.seconds, wakes.mean_scores, linewidth=1, label=_short(keyword.manifest.wake_word))
    axes.axhline(keyword.manifest.probability_cutoff, color=line.get_color(), linewidth=0.8, linestyle=":")
