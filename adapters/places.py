"""Places for clients' connections: so many of a process, whatever protocols they speak."""

import sys


class Places:
    """Says of each new connection whether there is room for it; used on one event loop."""

    def __init__(self, most: int = sys.maxsize) -> None:
        """Have so many places, all of them free."""
        self.most = most
        self.taken = 0
        """How many connections are open."""
        self.refused = 0
        """How many found no place."""

    def take(self) -> bool:
        """Take a place; False where none is free, and then there is none to give back."""
        if self.taken >= self.most:
            self.refused += 1
            return False
        self.taken += 1
        return True

    def give_back(self) -> None:
        """Leave a place that was taken."""
        self.taken -= 1
