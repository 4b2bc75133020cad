"""The licence desk: between the secrets that callers send or are given, and commands without any.

Raw keys and hardware come in and leave as keyed hashes; new keys, lease tokens and signed answers
go out. What it has to look up never changes, so it is kept in memory.
"""

from typing import Any, NamedTuple

from tollbook import license_key, signed_decision, tokens
from tollbook.errors import Invalid, NotFound, Refused

from application.answers import Answer
from application.license_tokens import leased, license_at, terms
from application.loading import load_license
from application.ports import EventStore, LicenseSecrets
from domain.facts import COMPONENTS_MAX
from domain.license_events import (
    KEY_KIND,
    LeaseRenewed,
    LicenseIssued,
    LicenseKeyRotated,
    SeatLeased,
)
from domain.policy import Policy
from domain.values import is_id

SHOWING_KEYS = frozenset({"reserve", "validate_license", "lease_seat"})
"""Kinds of commands that may show a licence key, and need name no licence then."""

SIGNED = SHOWING_KEYS | {"renew_lease"}
"""Kinds of commands whose answers are signed where a nonce is given."""

MAKING_KEYS = frozenset({"issue_license", "rotate_license_key"})
LEASING = frozenset({"lease_seat", "renew_lease"})
BINDING = SIGNED | {"activate_license"}
"""Kinds of commands that may name the hardware."""

STAGED = "reserve_pipeline"
"""The kind of command whose stages may each show a key and name the hardware."""

RESERVED_IDS = ("expiring", "validate")
"""Words that stand where an id stands in the paths of the API."""

CACHE_MAX = 200_000


class NotAtHandError(Exception):
    """The store has to be asked, and none was given."""


class Prepared(NamedTuple):
    """A body without secrets, and what its answer will need."""

    kind: str
    body: dict[str, Any]
    new_key: str | None = None
    """The key that was made for it, should it be decided now."""
    nonce: str | None = None


def concerns(kind: str, body: dict[str, Any]) -> bool:
    """Say whether a body has to pass the desk, before it is a command or after."""
    if kind == "reserve":
        return "license" in body or "license_key" in body or "nonce" in body
    if kind == STAGED:
        stages = _stages(body)
        return stages is None or any("license_key" in each or "facts" in each for each in stages)
    return kind in BINDING or kind in MAKING_KEYS


class LicenseDesk:
    """Prepares commands about licences and completes their answers; any thread may use it."""

    def __init__(self, secrets: LicenseSecrets) -> None:
        """Use the secrets of one ledger, which may turn out to be unavailable."""
        self._secrets = secrets
        self._secrets_work = False
        self._licenses: dict[str, str] = {}
        self._owners: dict[str, str] = {}
        self._policies: dict[tuple[str, str], Policy] = {}

    def prepare(
        self,
        kind: str,
        body: dict[str, Any],
        store: EventStore | None = None,
        own: str | None = None,
    ) -> Prepared:
        """Replace what is secret in a body; `own` is the one customer whose licences there are.

        Without a store it raises NotAtHandError where it would have to ask.
        """
        body, nonce = dict(body), None
        if kind == STAGED:
            return self._prepare_stages(body, store, own)
        if kind in SIGNED and body.get("nonce") is not None:
            nonce = _nonce(body["nonce"])
        if kind in SIGNED:
            body.pop("nonce", None)
        if nonce is not None or kind in LEASING:
            self._working(store)
        if kind in MAKING_KEYS:
            return self._with_new_key(kind, body, store)
        if kind in SHOWING_KEYS and body.get("license_key") is not None:
            self._show_key(body, own, store)
        name = body.get("license")
        known = type(name) is str and is_id(name)
        if own is not None and known and self.owner(str(name), store) != own:
            raise no_license(str(name))
        self._hash_hardware(kind, body, str(name) if known else None, store)
        return Prepared(kind, body, None, nonce)

    def _prepare_stages(
        self, body: dict[str, Any], store: EventStore | None, own: str | None
    ) -> Prepared:
        """Replace what is secret in each stage of a pipeline, as in a reservation of its own."""
        given = _stages(body)
        if given is None:  # not shown again: a key may stand in it
            rule = "a list of JSON objects"
            raise Invalid(f"stages must be {rule}", field="stages", rule=rule)
        if not given:
            return Prepared(STAGED, body)
        stages = [{**each, **self._of_stage(each, store, own)} for each in given]
        return Prepared(STAGED, {**body, "stages": stages})

    def _of_stage(
        self, stage: dict[str, Any], store: EventStore | None, own: str | None
    ) -> dict[str, Any]:
        secret = {name: stage[name] for name in _OF_LICENSES if name in stage}
        return self.prepare("reserve", secret, store, own).body

    def complete(
        self, prepared: Prepared, answer: Answer, store: EventStore | None = None
    ) -> dict[str, Any]:
        """Return what the edge adds to the answer of a command that was done."""
        recorded = answer.recorded
        if recorded is None or not answer.done:
            return {}
        event: Any = recorded.event
        if isinstance(event, LicenseIssued | LicenseKeyRotated):
            # Shown by who made it, and only when it was this key that came to be.
            is_ours = prepared.new_key and event.key_hash == prepared.body["key_hash"]
            return {"license_key": prepared.new_key, "key_shown": True} if is_ours else _NOT_SHOWN
        if isinstance(event, SeatLeased | LeaseRenewed):
            return leased(_asked(store), recorded, self._secrets.signing_key)
        decision = getattr(event, "decision", None)
        if decision is None or getattr(event, "license", None) is None:
            return {}
        return terms(self._policy(event.license, decision["policy"], recorded.position, store))

    def sign(self, document: dict[str, Any], nonce: str, now: int) -> str:
        """Return the token of an answer to the question with this nonce."""
        return signed_decision.sign(document, nonce, now, self._secrets.signing_key)

    def public_keys(self) -> list[dict[str, str]]:
        """Return the public keys whose tokens hold, the newest first."""
        raw = self._secrets.public_keys()
        return [{"id": tokens.key_id(key), "public_key": key.hex()} for key in raw]

    def owner(self, name: str, store: EventStore | None) -> str | None:
        """Return the customer of a licence, or None when there is none by that id."""
        found = self._owners.get(name)
        if found is None:
            asked = _asked(store)
            state = load_license(asked, name, asked.head().position)
            if state is None:
                return None
            found = state.customer
            _keep(self._owners, name, found)
        return found

    def _working(self, store: EventStore | None) -> LicenseSecrets:
        """Return the secrets, which ask the database at their first use; raises Unavailable."""
        if not self._secrets_work:
            _asked(store)
            self._secrets.public_keys()
            self._secrets_work = True
        return self._secrets

    def _with_new_key(self, kind: str, body: dict[str, Any], store: EventStore | None) -> Prepared:
        for field in ("key_hash", "key_hint"):
            if field in body:
                raise Invalid.because(field, body[field], "absent: the key is made here")
        if kind == "issue_license" and body.get("id") in RESERVED_IDS:
            raise Invalid.because("id", body["id"], f"none of {', '.join(RESERVED_IDS)}")
        secrets = self._working(store)
        key = license_key.make()
        made = {"key_hash": secrets.key_hash(key), "key_hint": license_key.hint(key)}
        return Prepared(kind, {**body, **made}, key)

    def _show_key(self, body: dict[str, Any], own: str | None, store: EventStore | None) -> None:
        """Replace the key of a body by its hash, and name its licence where none is named."""
        text = body["license_key"]
        if type(text) is not str:
            raise Invalid("the licence key must be text", field="license_key", rule="text")
        keyed = body["license_key"] = self._working(store).key_hash(text)
        if body.get("license") is None:
            body["license"] = self._license_of(keyed, own, store)

    def _license_of(self, keyed: str, own: str | None, store: EventStore | None) -> str:
        found = self._licenses.get(keyed)
        if found is None:
            asked, key = _asked(store), (KEY_KIND, "", keyed)
            position = asked.taken([key]).get(key)
            if position is None:
                raise _unknown_key()
            event: Any = asked.at([position])[position].event
            found = str(event.license)
            _keep(self._licenses, keyed, found)
            _keep(self._owners, found, str(event.customer))
        if own is not None and self.owner(found, store) != own:
            raise _unknown_key()
        return found

    def _hash_hardware(
        self, kind: str, body: dict[str, Any], name: str | None, store: EventStore | None
    ) -> None:
        """Replace the hardware that a body names in clear; its hashes are the licence's own."""
        if kind == "activate_license" and type(body.get("components")) is dict:
            body["components"] = self._hashed(name, body["components"], "components", store)
        facts = body.get("facts")
        given = facts.get("hardware") if kind in BINDING and type(facts) is dict else None
        if type(given) is not dict or type(facts) is not dict:
            return
        if type(given.get("value")) is dict:
            hashed = self._hashed(name, given["value"], "facts.hardware", store)
            body["facts"] = {**facts, "hardware": {**given, "value": hashed}}
        else:
            hashed = self._hashed(name, given, "facts.hardware", store)
            body["facts"] = {**facts, "hardware": hashed}

    def _hashed(
        self, name: str | None, given: dict[str, Any], field: str, store: EventStore | None
    ) -> dict[str, str]:
        if name is None:
            raise Invalid(f"{field} needs a licence", field=field, rule="given with a licence")
        if len(given) > COMPONENTS_MAX:
            rule = f"at most {COMPONENTS_MAX} components"
            raise Invalid.because(field, f"{len(given)} components", rule)
        secrets = self._working(store)
        for each in (*given, *given.values()):
            if type(each) is not str:
                raise Invalid.because(field, None, "an object of component names to texts")
        return {each: secrets.component_hash(name, each, text) for each, text in given.items()}

    def _policy(self, name: str, version: str, position: int, store: EventStore | None) -> Policy:
        """Return a policy by its version, under which one licence never has another."""
        found = self._policies.get((name, version))
        if found is None:
            # Before the event itself, which is no change of the licence and may not even be there.
            found = license_at(_asked(store), name, position - 1).policy
            _keep(self._policies, (name, version), found)
        return found


_NOT_SHOWN = {"key_shown": False}

_OF_LICENSES = ("license", "license_key", "facts")
"""The fields of a reservation that the desk looks at."""


def _stages(body: dict[str, Any]) -> list[dict[str, Any]] | None:
    """Return the stages of a body, or None where they are no list of JSON objects."""
    stages = body.get("stages", [])
    are_read = type(stages) is list and all(type(each) is dict for each in stages)
    return stages if are_read else None


def no_license(name: str) -> NotFound:
    """Return the error for a licence that is not there, or not for this caller."""
    return NotFound(f"there is no licence {name}", field="license", value=name)


def _unknown_key() -> Refused:
    # Not recorded: there is no licence, and so nobody, to record it for.
    return Refused("no licence here has this key", code="license_key_invalid")


def _nonce(nonce: Any) -> str:
    if type(nonce) is not str:
        raise Invalid.because("nonce", None, signed_decision.NONCE_RULE)
    signed_decision.check_nonce(nonce)
    return nonce


def _asked(store: EventStore | None) -> EventStore:
    if store is None:
        raise NotAtHandError
    return store


def _keep(cache: dict[Any, Any], key: Any, value: Any) -> None:
    if len(cache) >= CACHE_MAX:
        cache.clear()
    cache[key] = value
