-- Which calls span which outages: those of its bridge that were released before its end, and had
-- not ended before it began; where nothing proves the end, they had not if they lasted the most.
--
-- Answer and end are by the clock of Asterisk, as the outage is. The release is by the gateway's:
-- so a call that was answered in time counts, however far that clock is off. No call lasts longer
-- than a day; what is asked for long before an outage is not looked at.
CREATE OR REPLACE VIEW dialout.outage_call AS
SELECT
    o.outage_id,
    o.bridge,
    o.kind,
    o.began_at,
    o.ended_at,
    o.detail,
    d.tenant_id,
    d.dial_out_id,
    d.requested_at
FROM dialout.outage AS o
INNER JOIN dialout.dial_out AS d
    ON
        o.bridge = d.bridge
        AND o.began_at - interval '25 hours' <= d.requested_at
        AND o.ended_at + interval '1 hour' >= d.requested_at
        AND o.ended_at >= least(d.released_at, d.answered_at)
        AND (
            d.ended_at IS null
            OR o.began_at <= d.ended_at
            OR (
                d.unproved IS NOT null
                AND o.began_at
                <= coalesce(d.answered_at, d.released_at) + make_interval(secs => d.most_seconds)
            )
        );
