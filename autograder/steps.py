"""Work in steps, which says of each which it is: whoever shows it knows how much is left."""

from collections.abc import Callable


class Steps:
    """Says of each step which it is, and of how many."""

    def __init__(self, count: int, tell: Callable[[str], None]) -> None:
        self.count, self.tell, self.begun = count, tell, 0

    def begin(self, what: str) -> None:
        self.begun += 1
        self.tell(f"{self.begun} of {self.count}, {what}")
