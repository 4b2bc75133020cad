"""What is true: the rules of the ledger, as pure functions over plain data.

The words of the house, one sentence each:

- *customer*: who owes and who is owed; has one currency, one credit limit, one price book.
- *grant*: money put at a customer's disposal, paid or promotional, with a priority and an expiry.
- *hold*: money set aside by a reservation; it stops counting at the instant it expires.
- *reservation*: the permission to run one inference, sized at the worst price it could cost.
- *settlement*: what was really used, priced, and taken from the hold; a part or the final one.
- *charge*: the price of one usage record, naming its price version and its inputs.
- *receivable*: the part of a charge that no money covered; the customer owes it.
- *overdraft*: the part of the credit limit that charges have used up.
- *burn order*: the one total order in which grants are consumed.
- *breakage*: granted money that expired unused.
- *position*: the gapless number of an event in the ledger, from 1.

Every module here is deterministic: no I/O, no clock, no randomness.
"""
