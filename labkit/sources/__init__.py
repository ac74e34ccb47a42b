"""Where raw data comes from: the hub, a registry's package, or a file fetched by hand.

Every source ends in the same canonical order, so the split of a data set does not depend on
where it was fetched, and one digest proves them all.
"""

from labkit.registry import SourceUnavailable as SourceUnavailable
from labkit.sources.images import Images as Images
from labkit.sources.images import Part as Part
from labkit.sources.images import fetch as fetch
