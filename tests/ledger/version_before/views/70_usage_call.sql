-- The calls that were placed, who ordered them, and what was billed of them: for reports.
--
-- Whose meeting it was is as it was decided by; a call of a version that kept less has what is
-- known of its organizer now. `pay_per_minute` says that the organizer's subscription brought
-- no minutes. What was billed is JSON text, so that a client needs to know no composite type;
-- the connect fee is the rate's, charged once a call.
CREATE OR REPLACE VIEW dialout.usage_call AS
SELECT
    d.tenant_id,
    d.dial_out_id,
    d.requested_at,
    d.conference_id,
    d.organizer_id,
    o.display_name AS organizer_name,
    coalesce(d.explanation #>> '{facts,organizer,region}', o.region) AS organizer_region,
    coalesce(
        (d.explanation #> '{facts,organizer,licences}')::jsonb ? 'audio_conferencing_ppm'
        AND NOT (d.explanation #> '{facts,organizer,licences}')::jsonb ? 'audio_conferencing',
        false
    ) AS pay_per_minute,
    d.kind,
    d.initiator_id,
    d.caller_id,
    d.number_typed,
    d.destination,
    d.region,
    d.number_kind,
    d.answered_at,
    d.ended_at,
    d.disposition,
    d.billable_seconds,
    d.overrun_seconds,
    t.currency,
    (
        SELECT coalesce(sum(c.micros), 0)::bigint
        FROM dialout.charge AS c
        WHERE
            c.tenant_id = d.tenant_id
            AND c.dial_out_id = d.dial_out_id
            AND c.filed_at = d.requested_at
    ) AS billed_micros,
    (
        SELECT
            coalesce(
                json_agg(
                    json_build_object(
                        'source', p.kind,
                        'benefit_id', p.benefit_id,
                        'sku', b.sku,
                        'source_id', p.source_id,
                        'rate', p.rate::text,
                        'connect_fee_micros', coalesce((p.rate).connect_fee_micros, 0),
                        'seconds', c.seconds,
                        'micros', c.micros
                    ) ORDER BY c.slice, c.part
                ),
                '[]'
            )::text
        FROM dialout.charge AS c
        INNER JOIN dialout.part AS p
            ON
                c.tenant_id = p.tenant_id
                AND c.dial_out_id = p.dial_out_id
                AND c.slice = p.slice
                AND c.part = p.part
                AND c.filed_at = p.filed_at
        LEFT JOIN dialout.benefit AS b ON p.benefit_id = b.benefit_id
        WHERE
            c.tenant_id = d.tenant_id
            AND c.dial_out_id = d.dial_out_id
            AND c.filed_at = d.requested_at
    ) AS billed
FROM dialout.dial_out AS d
INNER JOIN dialout.tenant AS t ON d.tenant_id = t.tenant_id
LEFT JOIN dialout.organizer AS o
    ON d.tenant_id = o.tenant_id AND d.organizer_id = o.organizer_id
WHERE d.state <> 'refused';
