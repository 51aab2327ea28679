"""How long things last: the times that the rules of removal rest on (docs/design.md, Removal)."""

from dataclasses import dataclass
from typing import Self

MIN_GRACE = 3600.0


@dataclass(frozen=True, slots=True)
class Periods:
    """All in seconds, and safe by their order: view_age + bound < quiet < grace, bound < skew, horizon + quiet < purge_age.

    `grace`: how long what nothing references is kept, condemned and before. `upload_expiry`: how long the upload sessions last that this
    process begins. `view_age`: how old a view may be that somebody relies on. `bound`: how long an operation takes from the first such view
    to its end. `skew`: how far a gateway's clock may be from the store's, which is what S3 takes in a signature. `quiet`: how long
    nothing below a digest has changed before its bytes may go. `horizon`: how long after their T0 observations of a digest count.
    `purge_age`: how old a tombstone gets. `lease`: how long a maintenance run may give no sign of life.
    """

    grace: float = 24 * 3600.0
    upload_expiry: float = 48 * 3600.0
    view_age: float = 60.0
    bound: float = 60.0
    skew: float = 15 * 60.0
    quiet: float = 15 * 60.0
    horizon: float = 3600.0
    purge_age: float = 24 * 3600.0
    lease: float = 5 * 60.0

    @classmethod
    def shortened(cls, grace: float, upload_expiry: float) -> Self:
        """Those of a test with a grace period of at least 8 s, in which every clock is the store's.

        S3 tells times in whole seconds, so each order keeps more than one second.
        """
        return cls(
            grace=grace,
            upload_expiry=upload_expiry,
            view_age=grace / 16,
            bound=grace / 8,
            skew=grace / 3,
            quiet=grace / 3,
            horizon=grace / 2,
            purge_age=grace,
            lease=grace,
        )

    @property
    def last_words(self) -> float:
        """How long after a session's end, by the store's clock, something of it may still be published.

        A gateway whose clock is behind takes it for open, and what it then begins ends within the bound.
        """
        return self.skew + self.bound

    @property
    def notice(self) -> float:
        """How much older than a view, which a gateway's clock dates, the mark of a removal that came after it may look.

        The clocks differ by the skew, a removal follows its mark within the bound, and some stores tell whole seconds.
        """
        return self.skew + self.bound + 1.0
