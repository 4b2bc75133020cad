"""Denials: every code under which a licence says no, and their one order of precedence (C5)."""

DENIALS = {
    "license_key_invalid": "the key is not this licence's, or it was replaced",
    "license_revoked": "the licence was revoked",
    "license_suspended": "the licence is suspended",
    "license_not_started": "the licence has not begun",
    "license_expired": "the licence has come to its end",
    "license_channel_denied": "the licence is not for where the model runs",
    "license_not_activated": "the licence has not been activated on this device",
    "license_model_denied": "the licence is not for this model",
    "license_feature_denied": "the licence does not have this feature",
    "license_version_denied": "the licence is not for this version of the model",
    "license_watermark_required": "the licence wants outputs to be marked",
    "license_hardware_mismatch": "the hardware is not that of the activation",
    "license_gpu_mismatch": "the licence is not for these GPUs",
    "license_cloud_mismatch": "the licence is not for this cloud account",
    "license_domain_mismatch": "the licence is not for this domain",
    "license_address_mismatch": "the licence is not for this address",
    "license_region_denied": "the licence does not allow this region",
    "license_export_denied": "the licence or export rules do not allow this country",
    "license_limit_reached": "a limit of the licence leaves no room for this",
    "license_seats_taken": "every seat of the licence is taken",
}
"""Every code under which a licence refuses, with its meaning, in the order of the checks."""

LIFE_REFUSALS = {
    "license_devices_taken": "the licence is active on as many devices as it allows",
    "license_device_unknown": "the licence is not active on this device",
    "license_not_suspended": "the licence is not suspended",
    "license_not_expired": "the licence has not come to its end, or was ended otherwise",
    "license_borrow_denied": "the licence does not lend a seat for so long",
    "license_lease_ended": "the lease has expired, was returned, or never was",
}
"""Every code under which a change of a licence or of a lease is refused, with its meaning."""
