"""The routes: one table that says what there is under `/v1`, and who may use it.

The router, the check of roles, docs/openapi.json and the tests are made from it. What programs ask
most often stands first, because paths are tried in this order.
"""

from entrypoints.http import monitoring
from entrypoints.http.fraud_routes import FRAUD
from entrypoints.http.license_routes import LICENSES
from entrypoints.http.routes_customers import CUSTOMERS
from entrypoints.http.routes_inference import INFERENCE, MANY
from entrypoints.http.routes_ledger import KEYS, LEDGER
from entrypoints.http.routes_models import MODELS
from entrypoints.http.routes_pipelines import PIPELINES
from entrypoints.http.routing import Route

ROUTES: tuple[Route, ...] = (
    *INFERENCE,
    *MANY,
    *CUSTOMERS,
    *LEDGER,
    *LICENSES,
    *MODELS,
    *PIPELINES,
    *FRAUD,
    *KEYS,
    *monitoring.ROUTES,
)
