"""How well the keyword network hears a person, and so how loose its cutoff may be where the voice is known.

Near and clean, the network is sure of everybody; what tells people apart is how much of that is left in a room and in
noise. The variations of the takes (augment.py) show it: those that the speaker network gets, with rooms of 0.15 to
0.5 s and noise at 5 to 20 dB. scripts/studies/gates.py measures what a loose cutoff of one's own brings
(docs/research/gates.md).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from earmark.engine.audio.samples import Int16
from earmark.engine.networks.keyword import KeywordNetwork
from earmark.engine.spotting import find_wakes

from ..takes.quality import PAD_SAMPLES

HEARD_SHARE = 0.9  # of the variations should pass the loose cutoff
# Below 0.3 the network takes nearly a fifth of other words for its own (docs/research/gates.md, 0.2), and the voice
# stands alone; above 0.8 a loose cutoff brings nothing over the cutoff.
LOOSEST, STRICTEST = 0.3, 0.8


def share_of_cutoff(samples: Int16, keyword: KeywordNetwork) -> float:
    """The highest mean probability in (n,) int16, as a share of the network's cutoff: above 1 it fires."""
    scores = find_wakes(np.pad(samples, PAD_SAMPLES), keyword).mean_scores
    return float(scores.max(initial=0.0)) / keyword.manifest.probability_cutoff


def loose_share(shares: Sequence[float]) -> float | None:
    """What `share_of_cutoff` says of a person's variations -> the share of the cutoff that is their loose cutoff.

    None: there are no variations, or no network.
    """
    if not shares:
        return None
    return round(float(np.clip(np.quantile(shares, 1 - HEARD_SHARE), LOOSEST, STRICTEST)), 4)
