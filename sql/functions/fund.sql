-- fund(tenant_id, organizer_id, kinds, benefits, rate, e164, region, decided_at,
--      seconds, from_earliest, from_latest, before, micros_max, at) -> funding
--
-- What the sources can give to the next p_seconds of a call, in the order given, each up to
-- what it has; one that is not capped gives whatever is asked of it. Sets nothing aside: the
-- caller decides whether it is enough.
--
-- The seconds may begin at any instant from p_from_earliest to p_from_latest: nobody knows
-- when a telephone will be answered. Where a month or a price ends in between, each stretch is
-- given the most that can fall into it; what is too much is given back at the end. The
-- funding's seconds are those that are paid for without a gap, whenever the call begins: where
-- a stretch has too little, they end with what it has.
--
-- p_before is what the call was given before: the cost of a call is that of all its seconds,
-- not the sum of its slices. p_micros_max bounds the money of these seconds; null does not.
--
-- Retries: safe.
-- Locks:   the sources, in the order of their ids, which is not the order of asking; those
--          that are due are counted. The caller holds the tenant's row.
-- Raises:  P0002 if a call is to begin with a benefit that is not in force; 22023 if credits
--          are asked without a rate in their currency. Bugs in the caller: policy names neither.
CREATE OR REPLACE FUNCTION dialout.fund(
    p_tenant_id uuid,
    p_organizer_id text,
    p_kinds text[],
    p_benefits text[],
    p_rate rate_terms,
    p_e164 text,
    p_region text,
    p_decided_at timestamptz,
    p_seconds integer,
    p_from_earliest timestamptz,
    p_from_latest timestamptz,
    p_before part[],
    p_micros_max bigint,
    p_at timestamptz
)
RETURNS funding
LANGUAGE plpgsql
SET search_path TO dialout, pg_temp
AS $$
DECLARE
    v_to timestamptz := p_from_latest + make_interval(secs => p_seconds);
    v_funding funding := ROW(p_seconds, '{}', '{}', null);
    v_stretches stretch[];
    v_stretch stretch;
    v_lots uuid[] := '{}';
    v_seconds_before integer[];
    v_rates_before rate_terms[];
    v_bound bigint;
    v_micros_payable bigint;
    v_part part_proposal;
    v_begins_at timestamptz;
    v_needed integer;
    v_left integer;
BEGIN
    SELECT array_agg(s) INTO v_stretches
    FROM stretches(
        p_tenant_id, p_organizer_id, p_kinds, p_benefits, p_rate, p_e164, p_region,
        p_decided_at, p_from_earliest, v_to
    ) AS s;
    v_funding.asked := v_stretches[1].source_ids;
    IF cardinality(p_before) = 0 AND EXISTS (
        SELECT FROM unnest(p_kinds, v_funding.asked) AS k (kind, source_id)
        WHERE k.kind <> 'credits' AND k.source_id IS null
    ) THEN
        RAISE EXCEPTION 'a benefit that is not in force' USING ERRCODE = 'no_data_found';
    END IF;
    IF 'credits' = ANY(p_kinds) THEN
        v_lots := lots_open(p_tenant_id, p_at);
    END IF;
    PERFORM sources_lock(
        p_tenant_id,
        v_lots || ARRAY(SELECT unnest(s.source_ids) FROM unnest(v_stretches) AS s)
    );
    PERFORM sources_recount(
        p_tenant_id, ARRAY(SELECT unnest(s.source_ids) FROM unnest(v_stretches) AS s), p_at
    );

    SELECT
        coalesce(array_agg(b.seconds), '{}'),
        coalesce(array_agg(b.rate), '{}'),
        coalesce(sum(b.micros), 0)
    INTO v_seconds_before, v_rates_before, v_bound
    FROM unnest(p_before) AS b
    WHERE b.kind = 'credits';
    v_micros_payable := v_bound + least(lots_free(p_tenant_id, v_lots, p_rate), p_micros_max);

    FOREACH v_stretch IN ARRAY v_stretches LOOP
        v_begins_at := greatest(v_stretch.from_at, p_from_earliest);
        -- Whatever ends with this stretch may have begun with it: only the last is so long as
        -- was asked for.
        v_needed := ceil(extract(EPOCH FROM least(v_stretch.to_at, v_to) - v_begins_at));
        IF v_stretch.to_at = 'infinity' THEN
            v_needed := least(v_needed, p_seconds);
        END IF;
        v_left := v_needed;
        FOR v_place IN 1..cardinality(p_kinds) LOOP
            EXIT WHEN v_left = 0;
            v_part.part := cardinality(v_funding.parts) + 1;
            v_part.kind := p_kinds[v_place];
            v_part.benefit_id := p_benefits[v_place];
            v_part.source_id := v_stretch.source_ids[v_place];
            v_part.begins_at := v_begins_at;
            v_part.from_at := v_stretch.from_at;
            v_part.to_at := v_stretch.to_at;
            IF v_part.kind <> 'credits' THEN
                v_part.seconds := seconds_free(
                    p_tenant_id, v_part.source_id, v_left, v_funding.parts
                );
                v_part.micros := 0;
                v_part.rate := null;
            ELSIF v_micros_payable > 0 AND v_stretch.rate IS NOT null THEN
                v_part.seconds := seconds_payable(
                    v_micros_payable, v_left, v_stretch.rate, v_seconds_before, v_rates_before
                );
                CONTINUE WHEN v_part.seconds = 0;
                v_part.rate := v_stretch.rate;
                v_seconds_before := v_seconds_before || v_part.seconds;
                v_rates_before := v_rates_before || v_part.rate;
                v_part.micros := greatest(
                    0, cost_bound(v_seconds_before, v_rates_before) - v_bound
                );
                v_bound := v_bound + v_part.micros;
            ELSE
                v_part.seconds := 0;
            END IF;
            CONTINUE WHEN v_part.seconds = 0;
            v_funding.parts := v_funding.parts || v_part;
            v_left := v_left - v_part.seconds;
        END LOOP;
        IF v_left > 0 THEN
            v_funding.seconds := least(
                v_funding.seconds,
                v_needed - v_left + greatest(0, floor(extract(
                    EPOCH FROM nullif(v_stretch.from_at, '-infinity') - p_from_latest
                )))
            );
        END IF;
    END LOOP;
    v_funding.draws := draws_of(p_tenant_id, v_funding.parts, v_lots);
    RETURN v_funding;
END
$$;
