"""Pictures, where a person would rather look than read. Needs matplotlib (extra `enroll`)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.engine.audio import RATE_HZ, Int16, to_float
from earmark.engine.detector import FLUSH_SAMPLES, Detector, Event
from earmark.engine.errors import InstallationError
from earmark.engine.keyword import KeywordNetwork
from earmark.engine.sources import ArraySource
from earmark.engine.wakes import find_wakes

try:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise InstallationError(f"{error}: pictures need matplotlib: `pip install 'earmark[enroll]'`") from error

KNOWN, UNKNOWN = "#1a7f37", "#b3261e"
LABEL_BOX = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
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
    scores.legend(loc="upper left", fontsize="small", framealpha=0.6)
    figure.savefig(out, dpi=110)
    return events


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
    label = event.person or ("nobody known" if event.reason == "unknown_voice" else event.reason.replace("_", " "))
    if event.speaker_score is not None:
        label += f" {event.speaker_score:.2f}"
    axes.axvline(seconds, color=colour, linewidth=1.2)
    axes.annotate(label, (seconds, 1.1 + 0.26 * row), color=colour, fontsize="small", ha="center", bbox=LABEL_BOX)


def _draw_scores(axes: Axes, samples: Int16, keyword: KeywordNetwork) -> None:
    wakes = find_wakes(np.pad(samples, (0, FLUSH_SAMPLES)), keyword)
    (line,) = axes.plot(wakes.seconds, wakes.mean_scores, linewidth=1, label=keyword.manifest.wake_word)
    axes.axhline(keyword.manifest.probability_cutoff, color=line.get_color(), linewidth=0.8, linestyle=":")
