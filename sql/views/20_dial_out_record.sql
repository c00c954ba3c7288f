-- One row a dial-out: the request, the decision, what became of it, and who paid.
--
-- Parts, sources and explanation are JSON text, so that a client needs to know no composite
-- type. A call of a version that had no limit of its own is cut when its funds end.
CREATE OR REPLACE VIEW dialout.dial_out_record AS
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.kind,
    d.organizer_id,
    d.initiator_id,
    d.conference_id,
    d.number_typed,
    d.state,
    d.reason,
    d.destination,
    d.region,
    d.number_kind,
    d.requested_at,
    d.expires_at,
    d.released_at,
    d.answered_at,
    d.seen_at,
    d.ended_at,
    d.talk_seconds,
    coalesce(d.limit_seconds, d.talk_seconds) AS limit_seconds,
    d.ring_seconds,
    d.caller_id,
    d.gate_uniqueid,
    d.disposition,
    d.hangup_cause,
    d.billable_seconds,
    d.overrun_seconds,
    d.evidence,
    d.explanation::text AS explanation,
    d.sources::text AS sources,
    (
        SELECT
            coalesce(
                json_agg(
                    json_build_object(
                        'source', p.source,
                        'benefit_id', p.benefit_id,
                        'seconds', p.seconds,
                        'micros', p.micros,
                        'billed_seconds', p.billed_seconds,
                        'billed_micros', p.billed_micros,
                        'currency', p.currency
                    ) ORDER BY p.slice, p.part
                ),
                '[]'
            )::text
        FROM dialout.funding_part AS p
        WHERE p.tenant_id = d.tenant_id AND p.dial_out_id = d.dial_out_id
    ) AS parts
FROM dialout.dial_out AS d;
