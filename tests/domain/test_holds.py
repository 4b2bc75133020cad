"""The map of open holds: it behaves as a dictionary that is never changed."""

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from domain.holds import Hold, Holds

NAMES = st.text("abcdefgh", max_size=2)
HOLDS = st.builds(
    Hold, st.integers(0, 9), st.integers(0, 9), st.just((("g", 1),)), st.integers(0, 9)
)


class HoldsAgainstDict(RuleBasedStateMachine):
    """Puts and drops, on the map and on a dictionary; older versions must stay as they were."""

    def __init__(self) -> None:
        super().__init__()
        self.versions: list[tuple[Holds, dict[str, Hold]]] = [(Holds(), {})]

    @rule(version=st.integers(0, 50), name=NAMES, hold=HOLDS)
    def put(self, version: int, name: str, hold: Hold) -> None:
        """Put into any version there has been so far."""
        holds, expected = self.versions[version % len(self.versions)]
        self.versions.append((holds.put(name, hold), {**expected, name: hold}))

    @rule(version=st.integers(0, 50), name=NAMES)
    def drop(self, version: int, name: str) -> None:
        """Drop a name, known or not, from any version."""
        holds, expected = self.versions[version % len(self.versions)]
        rest = {key: hold for key, hold in expected.items() if key != name}
        self.versions.append((holds.drop(name), rest))

    @rule(name=NAMES)
    def get(self, name: str) -> None:
        """Look a name up in every version."""
        for holds, expected in self.versions:
            assert holds.get(name) == expected.get(name)

    @invariant()
    def every_version_equals_its_dictionary(self) -> None:
        """No later change shows in an older version."""
        for holds, expected in self.versions:
            assert dict(holds.items()) == expected
            assert len(holds) == len(expected)


TestHoldsAgainstDict = HoldsAgainstDict.TestCase


def test_maps_are_equal_by_content_however_they_came_to_be() -> None:
    one, two = Hold(1, 1, (), 1, "m", {}), Hold(2, 2, (), 2, "m", {})
    straight = Holds().put("a", one).put("b", two)
    around = Holds().put("b", one).put("c", one).put("a", one).drop("c").put("b", two)
    assert straight == around
    assert straight != around.drop("a")
    assert straight != {"a": one, "b": two}
