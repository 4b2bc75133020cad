"""Roles: what each kind of key is for, and the sets of roles that routes name.

- *admin*: everything, keys included.
- *service*: the programs that serve inference: customers, grants, reservations, usage, commands.
- *auditor*: reads everything, writes nothing.
- *finance*: reads money and customers; grants, caps and prices.
- *reviewer*: reads; unblocks accounts, parks and releases usage.
- *customer*: reads its own data and price books, and asks for quotes; anybody else's data does not
  exist for it.
"""

ADMIN = "admin"
SERVICE = "service"
AUDITOR = "auditor"
FINANCE = "finance"
REVIEWER = "reviewer"
CUSTOMER = "customer"

ROLES = (ADMIN, SERVICE, AUDITOR, FINANCE, REVIEWER, CUSTOMER)

Roles = frozenset[str]

EVERYBODY: Roles = frozenset(ROLES)
STAFF: Roles = EVERYBODY - {CUSTOMER}
OPERATING: Roles = frozenset({ADMIN, SERVICE})
FUNDING: Roles = frozenset({ADMIN, SERVICE, FINANCE})
PRICING: Roles = frozenset({ADMIN, FINANCE})
REVIEWING: Roles = frozenset({ADMIN, REVIEWER})
QUOTING: Roles = frozenset({ADMIN, SERVICE, FINANCE, CUSTOMER})
BOOKS: Roles = STAFF - {SERVICE}
COMMANDING: Roles = frozenset({ADMIN, SERVICE, FINANCE, REVIEWER})
ADMINS: Roles = frozenset({ADMIN})
SECURITY: Roles = frozenset({ADMIN, AUDITOR})
NAMING: Roles = frozenset({ADMIN, SERVICE, FINANCE, CUSTOMER})
"""Who sees the name of a customer (a customer's key sees no other's)."""

COMMAND_ROLES: dict[str, Roles] = {
    "create_customer": OPERATING,
    "change_customer": OPERATING,
    "issue_grant": FUNDING,
    "publish_prices": PRICING,
    "reserve": OPERATING,
    "extend": OPERATING,
    "settle": OPERATING,
    "release": OPERATING,
    "usage": OPERATING,
    "park_usage": REVIEWING,
    "release_usage": REVIEWING,
    "unblock": REVIEWING,
    "set_caps": PRICING,
    "raise_min_reader": ADMINS,
}
"""Who may give each kind of command, whichever way it comes."""
