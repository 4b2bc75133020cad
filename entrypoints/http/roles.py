"""Roles: what each kind of key is for, and the sets of roles that routes name.

- *admin*: everything, keys included.
- *service*: the programs that serve inference: customers, grants, reservations, usage, commands;
  they use licences for every customer, and tell what they have observed.
- *auditor*: reads everything, writes nothing.
- *finance*: reads money and customers; grants, caps and prices.
- *reviewer*: reads; reviews fraud cases, unblocks accounts, parks and releases usage.
- *customer*: reads its own data, its price books, the registry of models and the pipelines, asks
  for quotes, and uses its own licences; anybody else's data does not exist for it.
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
USING: Roles = frozenset({ADMIN, SERVICE, CUSTOMER})
"""Who uses licences (a customer's key its own, and its word is all that it can give)."""
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
    "flag_customer": REVIEWING,
    "clear_case": REVIEWING,
    "confirm_case": REVIEWING,
    "set_caps": PRICING,
    "raise_min_reader": ADMINS,
    "register_model": ADMINS,
    "release_model_version": ADMINS,
    "yank_model_version": ADMINS,
    "publish_export_list": ADMINS,
    "issue_license": ADMINS,
    "activate_license": USING,
    "deactivate_license": OPERATING,
    "renew_license": ADMINS,
    "upgrade_license": ADMINS,
    "suspend_license": ADMINS,
    "reinstate_license": ADMINS,
    "revoke_license": ADMINS,
    "expire_license": ADMINS,
    "rotate_license_key": ADMINS,
    "validate_license": USING,
    "lease_seat": USING,
    "renew_lease": USING,
    "return_lease": USING,
    "publish_policy": ADMINS,
    "publish_pipeline": ADMINS,
    "reserve_pipeline": OPERATING,
    "settle_pipeline": OPERATING,
    "release_pipeline": OPERATING,
}
"""Who may give each kind of command, whichever way it comes."""
