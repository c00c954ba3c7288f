-- entry_digest(previous, entry) -> digest
--
-- What joins an entry of the journal to the one before it: SHA-256 over that one's digest and
-- everything that the entry says. Instants count as seconds since the epoch, so that the
-- digest is the same in every session.
--
-- Retries: reads nothing and writes nothing.
CREATE OR REPLACE FUNCTION dialout.entry_digest(p_previous bytea, p_entry entry)
RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path TO dialout, pg_temp
AS $$
    SELECT sha256(
        p_previous
        || convert_to(
            concat_ws(
                '|',
                p_entry.tenant_id, extract(EPOCH FROM p_entry.filed_at), p_entry.number,
                p_entry.source_id, p_entry.kind, p_entry.granted_delta, p_entry.used_delta,
                p_entry.reserved_delta, coalesce(p_entry.dial_out_id::text, '-'),
                coalesce(p_entry.slice, 0), coalesce(p_entry.part, 0),
                extract(EPOCH FROM p_entry.at), extract(EPOCH FROM p_entry.written_at)
            ),
            'UTF8'
        )
    )
$$;
