-- What the gateway's logins may do: execute the functions of a call and read the views.
--
-- Tables are granted to nobody. A function that is a step of another one runs with its
-- caller's rights, so that called on its own it finds the tables closed.

REVOKE ALL ON SCHEMA dialout FROM public, dialout_gateway;
REVOKE ALL ON ALL TABLES IN SCHEMA dialout FROM public, dialout_gateway;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA dialout FROM public, dialout_gateway;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dialout FROM public, dialout_gateway;

GRANT USAGE ON SCHEMA dialout TO dialout_gateway;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA dialout TO dialout_gateway;
-- What makes money and rights is for the owner: a gateway that is broken into can spend no
-- more than there is.
REVOKE EXECUTE ON FUNCTION
dialout.credits_add,
dialout.licence_assign,
dialout.organizer_put,
dialout.rate_deck_put,
dialout.reference_load,
dialout.tenant_create,
dialout.tenant_update
FROM dialout_gateway;
GRANT SELECT ON
dialout.balance,
dialout.dial_out_record,
dialout.funding_part,
dialout.open_dial_out,
dialout.tenant_name
TO dialout_gateway;
