-- What logins may do: execute the functions of their group, and read its views.
--
-- Tables are granted to nobody, and a function to no group unless it is named here. What
-- makes money and rights is for provisioners: a gateway that is broken into can spend no more
-- than there is. Nor can a provisioner place or settle a call.

REVOKE ALL ON SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL TABLES IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL SEQUENCES IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA dialout FROM public, dialout_gateway, dialout_provisioner;

GRANT USAGE ON SCHEMA dialout TO dialout_gateway, dialout_provisioner;

GRANT EXECUTE ON FUNCTION
dialout.answered,
dialout.charge_micros,
dialout.claim,
dialout.destination_facts,
dialout.div_ceil,
dialout.ledger_check,
dialout.organizer_facts,
dialout.organizer_tenants,
dialout.rate_deck_find,
dialout.refuse,
dialout.rehearse,
dialout.reserve,
dialout.seen,
dialout.settle,
dialout.void
TO dialout_gateway;
GRANT SELECT ON
dialout.balance,
dialout.dial_out_record,
dialout.funding_part,
dialout.open_dial_out,
dialout.tenant_name
TO dialout_gateway;

GRANT EXECUTE ON FUNCTION
dialout.credits_add,
dialout.licence_assign,
dialout.licence_end,
dialout.meeting_put,
dialout.meeting_remove,
dialout.organizer_put,
dialout.policy_put,
dialout.prefix_put,
dialout.prefix_remove,
dialout.purchase_add,
dialout.rate_deck_put,
dialout.tenant_create,
dialout.tenant_lock,
dialout.tenant_update
TO dialout_provisioner;
GRANT SELECT ON
dialout.audit_list,
dialout.credit_list,
dialout.licence_list,
dialout.meeting_list,
dialout.organizer_list,
dialout.policy_list,
dialout.prefix_list,
dialout.purchase_list,
dialout.rate_deck_list,
dialout.tenant_list
TO dialout_provisioner;
