"""scratch"""
import time
from tests.support.ledger import *
def test_x(database):
    t=time.time()
    with open_ledger(database) as l:
        a_customer(l)
        print(reserve(l, "r1").result())
        r=settle(l, "r1").result()
        assert r["charged"]["amount"] == PRICE_OF_USAGE
        print(r, time.time()-t)
    print(database.query("select count(*) from events"))
