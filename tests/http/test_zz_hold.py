import time, os, pytest
from tests.support.databases import fresh_database
from tests.support.servers import embedded_server
from tests.support.serving import serving
from tests.support.ledger import price_book
def test_hold(pytestconfig):
    with fresh_database(embedded_server(pytestconfig)) as db, serving(db.parts) as s:
        s.tollbook.publish(price_book()).result()
        open("/tmp/c1_served","w").write(s.url+" "+s.key())
        for _ in range(2600):
            if os.path.exists("/tmp/c1_stop"): break
            time.sleep(0.1)
