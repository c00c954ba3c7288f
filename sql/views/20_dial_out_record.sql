-- One row a dial-out: the request, the decision, what became of it, and who paid.
--
-- Parts, sources and explanation are JSON text, so that a client needs to know no composite
-- type. What a source gave at one price is one part, whatever the slices.
CREATE OR REPLACE VIEW dialout.dial_out_record AS
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.kind,
    d.organizer_id,
    d.initiator_id,
    d.conference_id,
    d.meeting_name,
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
    d.limit_seconds,
    d.talk_seconds_max,
    d.slices,
    d.ring_seconds,
    d.caller_id,
    d.bridge,
    d.gate_uniqueid,
    d.confirms,
    d.joined_at,
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
                    ) ORDER BY p.place
                ),
                '[]'
            )::text
        FROM (
            SELECT
                f.kind AS source,
                f.benefit_id,
                (f.rate).currency AS currency,
                sum(f.seconds) AS seconds,
                sum(f.micros) AS micros,
                CASE d.state WHEN 'ended' THEN coalesce(sum(b.seconds), 0) END AS billed_seconds,
                CASE d.state WHEN 'ended' THEN coalesce(sum(b.micros), 0) END AS billed_micros,
                min((f.begins_at, f.slice, f.part)) AS place
            FROM dialout.part AS f
            LEFT JOIN dialout.charge AS b
                ON
                    b.tenant_id = d.tenant_id
                    AND b.dial_out_id = d.dial_out_id
                    AND b.filed_at = d.requested_at
                    AND f.slice = b.slice
                    AND f.part = b.part
            WHERE
                f.tenant_id = d.tenant_id AND f.dial_out_id = d.dial_out_id
                AND f.filed_at = d.requested_at
            GROUP BY f.kind, f.benefit_id, f.source_id, f.rate
        ) AS p
    ) AS parts,
    (
        SELECT c.reason
        FROM dialout.dropped_call AS c
        WHERE c.tenant_id = d.tenant_id AND c.dial_out_id = d.dial_out_id
    ) AS dropped,
    d.least_seconds,
    d.most_seconds,
    d.unproved,
    d.granted,
    d.asterisk_booted_at
FROM dialout.dial_out AS d;
