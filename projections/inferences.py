"""Inferences: what became of those that a gateway had run, over a stretch of the ledger.

There is no table of its own: the log says who admitted them, the other read models how they ended.
A run through a pipeline counts once, as an inference of the ensemble that ran all of its stages.
"""

from collections.abc import Sequence

from domain.reconciliation import BOUNDS, INSIDE, UNSEEN, Ended
from domain.server_counters import Sample, Stretch
from domain.stages import OF_PIPELINE
from domain.values import SECOND
from projections.model import Run

LONGEST = 3_600 * SECOND
"""Of what was held longer before the stretch, and ended after it, nothing is told."""

# When the stretch began: by its first sample, but no earlier and no later than the ledger knows.
_BEGAN = """
greatest((SELECT recorded_at FROM events WHERE position = {begin}),
    least({at}, (SELECT recorded_at FROM events WHERE position = {began} + 1)))
"""

_ASKED = """
SELECT %s::text[] AS actors, %s::text[] AS sources, %s::bigint[] AS froms, %s::bigint[] AS tos
"""
# The ways into the stretch: held in it; or held before it, and ended in it, not ended yet, or ended
# after it. Each goes by an index of positions, however long the ledger is. The positions stand in
# the query as numbers, so that the planner knows how much lies between them. A hold that had
# expired before is nobody's, whether or not an event has booked that yet: nothing ran under it.
_TOUCHED = f"""
SELECT * FROM views.reservations WHERE position > {{begin}} AND position <= {{finish}}
UNION ALL (
SELECT held.* FROM events AS gone JOIN views.reservations AS held
    ON held.reservation = substr(gone.stream, 13) AND held.updated = gone.position
WHERE gone.position > {{begin}} AND gone.position <= {{finish}} AND held.position <= {{begin}}
    AND gone.name IN ('reservation_settled', 'reservation_released')
UNION
SELECT held.* FROM aside JOIN views.reservations AS held ON held.reservation = aside.id
WHERE aside.position > {{begin}} AND aside.position <= {{finish}} AND held.position <= {{begin}}
UNION
SELECT * FROM views.reservations
WHERE status = 'open' AND position <= {{begin}} AND expires_at > {_BEGAN}
UNION
SELECT * FROM views.reservations WHERE position <= {{begin}} AND updated > {{finish}}
    AND (status <> 'expired' OR expires_at > {_BEGAN})
    AND position > public.position_at(
        (SELECT recorded_at FROM events WHERE position = {{begin}}) - {{longest}}))
"""  # noqa: S608 - our own names
# What has a hold of its own. A gateway names inferences so, and nothing else that it holds.
_HELD = """
SELECT touched.reservation AS id, touched.model, touched.position AS begun,
    coalesce(aside.position,
        CASE WHEN touched.status IN ('settled', 'released') THEN touched.updated END) AS ended,
    charge.gpu_seconds,
    CASE WHEN touched.status = 'released' THEN gone.data::json ->> 'reason'
        ELSE aside.detail END AS reason,
    CASE WHEN touched.status = 'settled' THEN 'charged'
        WHEN touched.status = 'released' THEN 'released'
        WHEN aside.position IS NOT NULL THEN 'parked' ELSE 'open' END AS how
FROM asked CROSS JOIN touched
JOIN events AS begun ON begun.position = touched.position AND begun.actor = ANY(asked.actors)
LEFT JOIN views.charges AS charge
    ON touched.status = 'settled' AND charge.position = touched.updated
LEFT JOIN events AS gone ON touched.status = 'released' AND gone.position = touched.updated
LEFT JOIN aside ON aside.id = touched.reservation
WHERE left(touched.reservation, 4) = 'inf_'
"""
# What was paid from money that was set aside for several has none: only its end is known.
_UNHELD = """
SELECT id, model, position, position, gpu_seconds, NULL, 'charged' FROM asked, views.charges
WHERE position > {begin} AND position <= {finish} AND source = ANY(sources)
    AND reservation IS DISTINCT FROM id
UNION ALL
SELECT id, model, position, position, NULL, detail, 'parked' FROM aside
WHERE position > {begin} AND position <= {finish} AND released_position IS NULL
    AND NOT EXISTS (SELECT FROM views.reservations AS held WHERE held.reservation = aside.id)
"""
# Each stage of a run has a hold of its own, named by the run, a dot and the stage. All of one run
# end alike, unless somebody did something to one of them by hand: then the dearest end counts.
_WHOLE = f"""
SELECT * FROM each WHERE strpos(id, '.') = 0 UNION ALL (
SELECT DISTINCT ON (run) run, '{OF_PIPELINE}' || (
        SELECT bound.data::json ->> 'pipeline' FROM events AS bound
        WHERE bound.stream = 'stages-' || run AND bound.stream_version = 1),
    begun, ended, 0, reason, how
FROM each, split_part(id, '.', 1) AS run WHERE strpos(id, '.') > 0
ORDER BY run, array_position(ARRAY['charged', 'parked', 'released', 'open'], how), begun)
"""  # noqa: S608 - our own names
_QUERY = f"""
WITH asked AS ({_ASKED}), aside AS MATERIALIZED (
    SELECT parked_usage.* FROM asked, views.parked_usage WHERE source = ANY(sources)
), touched AS ({_TOUCHED}), each AS ({_HELD} UNION ALL {_UNHELD}), found AS ({_WHOLE})
SELECT model,
    CASE WHEN ended IS NULL THEN '{INSIDE}'
        WHEN begun <= {{began}} OR ended > {{ending}} THEN '{BOUNDS}'
        WHEN EXISTS (SELECT FROM unnest(froms, tos) AS unseen (low, high)
            WHERE begun <= unseen.high AND ended > unseen.low) THEN '{UNSEEN}'
        ELSE '{INSIDE}' END,
    how, coalesce(split_part(reason, ':', 1), ''),
    CASE WHEN how <> 'released' OR reason IS NULL THEN ''
        WHEN strpos(reason, '[request id: ' || id || ']') > 0
            OR reason ~ 'unexpected inference (in|out)put |Request for unknown model' THEN 'refused'
        WHEN reason LIKE '%%: no server took it' THEN 'untaken' ELSE '' END,
    count(*), coalesce(sum(gpu_seconds * 1000000), 0)::bigint
FROM asked CROSS JOIN found WHERE ended IS NULL OR ended > {{begin}}
GROUP BY 1, 2, 3, 4, 5 ORDER BY 1, 2, 3, 4, 5
"""  # noqa: S608 - our own names


def ended(
    run: Run, gateways: Sequence[str], first: Sample, last: Sample, unseen: Sequence[Stretch]
) -> list[Ended]:
    """Return what became of some gateways' inferences between two samples, alike ones together.

    Gateways go by their names; the views have to hold everything up to the last sample.
    """
    query = _QUERY.format(
        at=int(first.at),
        begin=int(first.before),
        began=int(first.after),
        ending=int(last.before),
        finish=int(last.after),
        longest=LONGEST,
    )
    values = (
        [f"gateway:{name}" for name in gateways],
        [f"gateway/{name}" for name in gateways],
        [stretch[0] for stretch in unseen],
        [stretch[1] for stretch in unseen],
    )
    return [Ended(*row) for row in run(query, values)]
